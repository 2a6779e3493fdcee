"""From a signature to a launch: compiled for the GPU at hand, or run by Triton's interpreter."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.errors import ProblemError
from tunedb.kernel import Run, Signature
from tunedb.problem import Problem
from tunedb.torch_internals import fast_cuda_empty, raw_stream
from tunedb.triton_internals import (
    check_generation,
    direct_launch,
    is_gluon,
    is_interpreted,
    is_tested,
    python_function,
    toolchain,
)
from tunedb.weights.cache import Packer
from tunedb.weights.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "AXIS_LIMIT",
    "Arguments",
    "clear",
    "convolution_arguments",
    "convolution_plan",
    "dense_strides",
    "launch_flaw",
    "launcher",
    "loaded",
    "workspace",
]

AXIS_LIMIT = 65535  # blocks along the second and third axis of a grid
POINTERS = ("x_ptr", "w_ptr", "b_ptr", "y_ptr")
SCALARS = ("n", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w")
TRITON_TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

Launch = Callable[..., None]  # launch(x, weight, bias or None, out)

_handles: dict[tuple[Any, ...], Any] = {}


class Arguments(NamedTuple):
    """The part of a Signature that all convolutions share."""

    types: dict[str, str]
    constexprs: dict[str, Any]
    aligned: tuple[str, ...]
    scalars: tuple[int, ...]

    def without(self, *pointers: str) -> "Arguments":
        """Return these arguments for a kernel that does not use some pointers: None is compiled in for each."""
        return self._replace(
            types={**self.types, **dict.fromkeys(pointers, "constexpr")},
            constexprs={**self.constexprs, **dict.fromkeys(pointers)},
            aligned=tuple(name for name in self.aligned if name not in pointers),
        )

    def signature(
        self, fn: Any, constexprs: dict[str, Any], grid: tuple[int, int, int], num_warps: int, num_stages: int
    ) -> Signature:
        """Complete these arguments to a Signature of a kernel, whose other arguments are all among `constexprs`."""
        types = {name: self.types.get(name, "constexpr") for name in fn.arg_names}
        given = {**self.constexprs, **constexprs}
        wanted = {name: given[name] for name, kind in types.items() if kind == "constexpr"}
        return Signature(fn, types, wanted, self.aligned, self.scalars, grid, num_warps, num_stages)


def convolution_arguments(problem: Problem) -> Arguments:
    """Describe pointers, batch and extents, which are run-time arguments; axes that the operation lacks are constants."""
    types, constexprs, pointers, names = _arguments(problem.dtype, bool(problem.bias), problem.rank)
    values = (problem.n, *problem.extents[3 - problem.rank :], *problem.out_extents[3 - problem.rank :])
    aligned = [name for name, value in zip(names, values, strict=True) if value % 16 == 0]
    return Arguments(dict(types), dict(constexprs), (*pointers, *aligned), values)


@functools.cache
def _arguments(dtype: str, bias: bool, rank: int) -> tuple[dict[str, str], dict[str, Any], Any, Any]:
    """Return types, constants, pointers and run-time integers of all problems of a kind."""
    pointer = "*" + TRITON_TYPES[dtype]
    constexprs: dict[str, Any] = {} if bias else {"b_ptr": None}
    types = dict.fromkeys(POINTERS, pointer) | dict.fromkeys(constexprs, "constexpr")
    for axis in "dhw"[: 3 - rank]:
        constexprs |= {f"in_{axis}": 1, f"out_{axis}": 1}
    names = [name for name in SCALARS if name not in constexprs]
    pointers = tuple(name for name in POINTERS if types[name] == pointer)
    return types | dict.fromkeys(names, "i32"), constexprs, pointers, tuple(names)


def convolution_plan(problem: Problem, launch: Launch, layout: "Layout | Callable[[Tensor], Tensor]") -> Run:
    """Return run(x, weight, bias, out=None): it checks the shape, allocates in the problem's layout, launches.

    `layout` says how the weight is packed; a function of the weight is called for it in every call, unless it is a Packer.
    Its attribute `usual`, where it is not None, runs what the caller has checked: an input of that shape on the current GPU.
    """
    import torch

    pack: Callable[[Tensor], Tensor]
    if isinstance(layout, Layout):
        pack = packer = Packer(layout)
        packer.prepare(getattr(torch, problem.dtype))
    else:
        pack = layout
    shape, dtype = problem.input_shape, getattr(torch, problem.dtype)
    out_shape = problem.output_shape
    strides = dense_strides(out_shape, problem.layout)
    fast_empty = fast_cuda_empty()

    def run(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor | None" = None) -> "Tensor":
        if x.shape != shape:
            raise ProblemError(
                f"input must have the shape {shape} that this plan was made for, but has {tuple(x.shape)}."
            )
        if out is None:
            if x.is_cuda and fast_empty is not None:
                out = fast_empty(out_shape, strides, dtype)
            else:
                out = torch.empty_strided(out_shape, strides, dtype=dtype, device=x.device)
        if out.numel():
            launch(x, pack(weight), bias, out)
        return out

    def run_usual(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        out = fast_empty(out_shape, strides, dtype)  # type: ignore[misc]
        launch(x, pack(weight), bias, out)
        return out

    run.packer, run.made_of = pack, (launch, layout)  # type: ignore[attr-defined]
    run.usual = None if fast_empty is None or 0 in out_shape else run_usual  # type: ignore[attr-defined]
    return run


def workspace(size: int | tuple[int, ...], dtype: "torch.dtype", strides: tuple[int, ...] = (1,)) -> "Callable[[Tensor], Tensor]":  # fmt: skip
    """Return what allocates elements, or a shape by its strides, for a launch: on its input's device, which must be the current one."""
    import torch

    fast_empty, shape = fast_cuda_empty(), (size,) if isinstance(size, int) else size

    def allocate(x: "Tensor") -> "Tensor":
        if x.is_cuda and fast_empty is not None:
            return fast_empty(shape, strides, dtype)
        return torch.empty_strided(shape, strides, dtype=dtype, device=x.device)

    return allocate


def dense_strides(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return the strides of a dense tensor, in elements."""
    order = range(len(shape) - 1, -1, -1)  # from the innermost axis outwards
    if layout == "channels_last":
        order = [1, *range(len(shape) - 1, 1, -1), 0]  # type: ignore[assignment]
    strides, step = [0] * len(shape), 1
    for axis in order:
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def launch_flaw(problem: Problem, grid: tuple[int, int, int]) -> str:
    """Return why CUDA refuses a grid, or why 32 bits cannot number the output rows; an empty string where neither is so."""
    depth, height, _ = problem.out_extents
    rows = problem.n * depth * height + 4096  # the last tile may reach beyond the end
    if grid[0] >= 2**31 or max(grid[1:]) > AXIS_LIMIT or rows >= 2**31:
        return f"a launch has at most 2^31, {AXIS_LIMIT} and {AXIS_LIMIT} blocks and 2^31 rows, but needs {grid} and {rows}"
    return ""


def launcher(signature: Signature, arch: str | None = None) -> Launch:
    """Return launch(x, weight, bias, out) for the current CUDA device, or for Triton's interpreter where it is on.

    `arch` ("sm89") runs that older generation's code.
    Raises DeviceError: where the GPU does not run that generation's code. Raises what Triton raises where the kernel cannot
    be compiled or loaded.
    """
    values = iter(signature.scalars)
    tail = tuple(
        next(values) if kind == "i32" else signature.constexprs.get(name)
        for name, kind in signature.types.items()
        if name not in POINTERS
    )
    if is_interpreted(signature.fn):
        return _interpreted(signature, tail)
    return _direct(signature, tail, arch) or _public(signature, tail, arch)


def _interpreted(signature: Signature, tail: tuple[Any, ...]) -> Launch:
    bound = signature.fn[signature.grid]

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        bound(x, weight, bias, out, *tail)

    return launch


def _direct(signature: Signature, tail: tuple[Any, ...], arch: str | None) -> Launch | None:
    """Launch through the compiled kernel's own launcher, at half the host time of fn[grid](...).

    None where the installed Triton is not known to take its arguments in this order.
    """
    import torch

    index = torch.cuda.current_device()
    handle = _handle(signature, index, arch)
    direct = None if handle is None else direct_launch(handle)
    if direct is None:
        return None
    run, head = direct
    grid_x, grid_y, grid_z = signature.grid
    stream_of = raw_stream

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        # Constants keep their positions.
        run(
            grid_x, grid_y, grid_z, stream_of(index), *head,
            x.data_ptr(), weight.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr(), *tail,
        )  # fmt: skip

    return launch


def _public(signature: Signature, tail: tuple[Any, ...], arch: str | None) -> Launch:
    """Launch by fn[grid](...), Triton's public way, compiled and loaded before the first launch."""
    import torch

    from tunedb.device import as_arch, current

    options: dict[str, Any] = {"num_warps": signature.num_warps, "num_stages": signature.num_stages}
    if arch:
        as_arch(current(torch.cuda.current_device()), arch)
        options["arch"] = arch
    # Triton makes a constant of an integer that is 1, but our kernels call methods of theirs.
    integers = [name for name, kind in signature.types.items() if kind == "i32"]
    fn = _unspecialized(
        signature.fn,
        tuple(name for name, value in zip(integers, signature.scalars, strict=True) if value == 1),
    )
    _, has_weight, has_bias, _ = (signature.types[name] != "constexpr" for name in POINTERS)

    kinds = {f"*{short}": getattr(torch, name) for name, short in TRITON_TYPES.items()}
    pointers = [kinds.get(signature.types[name]) for name in POINTERS]
    kernel = fn.warmup(*pointers, *tail, grid=signature.grid, **options)
    check_generation(kernel, arch)
    getattr(kernel, "run", None)  # loads it: what does not fit the GPU fails here, not in a call
    bound = fn[signature.grid]

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        bound(x, weight if has_weight else None, bias if has_bias else None, out, *tail, **options)

    return launch


@functools.cache
def _unspecialized(fn: Any, integers: tuple[str, ...]) -> Any:
    """Return a jitted function of which Triton makes no other code for these arguments' values."""
    if not integers:
        return fn
    if is_gluon(fn):
        from triton.experimental.gluon import jit
    else:
        from triton import jit
    return jit(python_function(fn), do_not_specialize=integers)


def _handle(signature: Signature, index: int, arch: str | None = None) -> Any:
    """Return the compiled kernel for the CUDA device of that index; one for all plans that share it.

    None where the installed Triton has no tested way to compile and launch it by hand.
    """
    from tunedb.compile import cap_blocks, compiled
    from tunedb.device import as_arch, current

    key = (*signature.code, index, arch)
    handle = _handles.get(key)
    if handle is None:
        if not is_tested() or toolchain(signature.fn) is None:
            return None
        here = current(index)
        handle = compiled(signature, as_arch(here, arch) if arch else here)
        if arch:
            cap_blocks(handle, signature.num_warps, as_arch(here, arch), here)
        _handles[key] = handle
    return handle


def loaded() -> list[str]:
    """Return the name of each kernel that was compiled and loaded, once for each variant of its code."""
    return [key[0] for key in _handles]


def clear() -> None:
    """Forget the loaded kernels; a kernel that a plan uses stays loaded until that plan is dropped."""
    _handles.clear()
