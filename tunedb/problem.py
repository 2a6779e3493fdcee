"""What is to be computed: one type for six operations, always with three spatial dimensions."""

from math import log2, prod
from operator import ge
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.arguments import AXIS_SIZES, names
from tunedb.errors import ProblemError, quoted

__all__ = [
    "DTYPES",
    "ITEM_BYTES",
    "LAYOUTS",
    "MOST_ELEMENTS",
    "MOST_ON_AN_AXIS",
    "OPS",
    "PRECISIONS",
    "Problem",
    "checked",
    "is_transposed",
    "op_of",
    "rank",
]

OPS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
DTYPES = ("float32", "float16", "bfloat16")
LAYOUTS = ("channels_first", "channels_last")
# Only float32 has a choice; products of 16-bit numbers are exact in float32, so those are always "ieee".
PRECISIONS = ("tf32", "ieee")
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Kernels hold every size, and every position on an axis, in a signed 32-bit integer.
MOST_ON_AN_AXIS = 2**31 - 1
# Of input, weight and output each: the bytes of one in float64, in which results are verified, fit a signed 64-bit integer.
MOST_ELEMENTS = 2**60 - 1


if TYPE_CHECKING:
    from functools import cached_property as _once
else:

    class _once:  # noqa: N801 (read as a decorator)
        """A property that is computed once for each problem: a plan reads the same extents some fifty times.

        It takes no lock, unlike cached_property of Python 3.11: two threads compute the same value.
        """

        def __init__(self, compute: Any) -> None:
            self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

        def __get__(self, problem: Any, kind: type) -> Any:
            if problem is None:
                return self
            found = problem.__dict__[self._name] = self._compute(problem)
            return found


class _Fields(NamedTuple):
    op: str
    dtype: str
    precision: str
    layout: str
    n: int
    c_in: int
    c_out: int
    groups: int
    bias: int
    in_d: int
    in_h: int
    in_w: int
    k_d: int
    k_h: int
    k_w: int
    stride_d: int
    stride_h: int
    stride_w: int
    padding_d: int
    padding_h: int
    padding_w: int
    output_padding_d: int
    output_padding_h: int
    output_padding_w: int
    dilation_d: int
    dilation_h: int
    dilation_w: int


class Problem(_Fields):
    """A convolution, by value: dict key, SQL key and argument in one.

    Sizes are in elements, in the order depth, height, width; an operation of fewer dimensions has
    size 1, kernel 1, stride 1, dilation 1 and padding 0 in front. `bias` is 0 or 1, for SQL's sake.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return Problem, tuple(self)  # without what was computed

    @_once
    def transposed(self) -> bool:
        return is_transposed(self.op)

    @_once
    def rank(self) -> int:
        return rank(self.op)

    @_once
    def extents(self) -> tuple[int, int, int]:
        return (self.in_d, self.in_h, self.in_w)

    @_once
    def kernel(self) -> tuple[int, int, int]:
        return (self.k_d, self.k_h, self.k_w)

    @_once
    def stride(self) -> tuple[int, int, int]:
        return (self.stride_d, self.stride_h, self.stride_w)

    @_once
    def padding(self) -> tuple[int, int, int]:
        return (self.padding_d, self.padding_h, self.padding_w)

    @_once
    def output_padding(self) -> tuple[int, int, int]:
        return (self.output_padding_d, self.output_padding_h, self.output_padding_w)

    @_once
    def dilation(self) -> tuple[int, int, int]:
        return (self.dilation_d, self.dilation_h, self.dilation_w)

    @_once
    def out_extents(self) -> tuple[int, int, int]:
        """Output depth, height, width; an entry below 1 means that torch refuses the problem."""
        steps = (self.stride, self.padding, self.output_padding, self.dilation)
        axes = zip(self.extents, self.kernel, *steps, strict=True)
        if self.transposed:
            d, h, w = ((i - 1) * s - 2 * p + dil * (k - 1) + op + 1 for i, k, s, p, op, dil in axes)
        else:
            d, h, w = ((i + 2 * p - dil * (k - 1) - 1) // s + 1 for i, k, s, p, _, dil in axes)
        return (d, h, w)

    @_once
    def weight_shape(self) -> tuple[int, ...]:
        """Torch's weight shape, with the operation's own number of spatial dimensions."""
        kernel = self.kernel[3 - self.rank :]
        if self.transposed:
            return (self.c_in, self.c_out // self.groups, *kernel)
        return (self.c_out, self.c_in // self.groups, *kernel)

    @_once
    def input_shape(self) -> tuple[int, ...]:
        return (self.n, self.c_in, *self.extents[3 - self.rank :])

    @_once
    def output_shape(self) -> tuple[int, ...]:
        return (self.n, self.c_out, *self.out_extents[3 - self.rank :])

    @property
    def torch_sizes(self) -> dict[str, Any]:
        """Stride, padding and the like by name, as torch's function of that operation takes them."""
        lead = slice(3 - self.rank, None)
        sizes = {name: getattr(self, name)[lead] for name in names(self.op) if name in AXIS_SIZES}
        return {**sizes, "groups": self.groups}

    @_once
    def inputs(self) -> int:
        """Elements of the input."""
        return self.n * self.c_in * prod(self.extents)

    @_once
    def weights(self) -> int:
        """Elements of the weight."""
        return self.c_in * (self.c_out // self.groups) * prod(self.kernel)

    @_once
    def outputs(self) -> int:
        """Elements of the output."""
        return self.n * self.c_out * prod(self.out_extents)

    @_once
    def flops(self) -> int:
        """Useful operations: 2 for every weight that meets an input element, borders counted as inside."""
        extents = self.extents if self.transposed else self.out_extents
        return 2 * self.n * prod(extents) * (self.c_in // self.groups) * self.c_out * prod(self.kernel)

    @_once
    def bytes(self) -> int:
        """The fewest bytes that must move: input, weight, bias and output once each."""
        return (self.inputs + self.outputs + self.weights + self.bias * self.c_out) * ITEM_BYTES[self.dtype]

    @_once
    def positions(self) -> int:
        """Batch times output positions; 1 for an empty output, so that it has a logarithm."""
        return max(1, self.n * prod(max(1, extent) for extent in self.out_extents))

    @_once
    def doublings(self) -> tuple[float, float]:
        """log2 of `positions` and of the input's width."""
        return log2(self.positions), log2(max(1, self.in_w))

    @_once
    def layer_doublings(self) -> tuple[float, ...]:
        """log2 of what batch and extents do not change: channels in and out of a group, taps, groups, strides and dilations."""
        taps, group = prod(self.kernel), max(1, self.groups)
        sizes = (self.c_in // group, self.c_out // group, taps, self.groups, *self.stride, *self.dilation)
        return tuple(log2(max(1, size)) for size in sizes)


# What each size must at least be.
_LEAST = {field: 0 if field in {"n", "bias"} or "padding" in field else 1 for field in Problem._fields[4:]}


def is_transposed(op: str) -> bool:
    return op.startswith("conv_transpose")


def rank(op: str) -> int:
    """Number of spatial dimensions."""
    return int(op[-2])


def op_of(rank: int, *, transposed: bool) -> str:
    """Return the operation of that many spatial dimensions."""
    return f"conv{'_transpose' if transposed else ''}{rank}d"


def checked(problem: Problem) -> Problem:
    """Return the problem itself if torch would accept it and every number of it fits kernels, SQLite and torch.

    Every problem from outside passes here: of a suite, a command line, a row of a database, a call.
    Raises ProblemError: for an unknown name, a size out of range, or an empty output.
    """
    for field, allowed in (("op", OPS), ("dtype", DTYPES), ("precision", PRECISIONS), ("layout", LAYOUTS)):
        value = getattr(problem, field)
        if not isinstance(value, str) or value not in allowed:
            raise ProblemError(f"{field} must be one of {', '.join(allowed)}, but got {quoted(value)}.")
    # The usual problem passes by three comparisons in C; only one that does not is looked at field by field.
    sizes = problem[4:]
    usual = set(map(type, sizes)) == {int} and max(sizes) <= MOST_ON_AN_AXIS
    usual = usual and all(map(ge, sizes, _LEAST.values()))
    for field, value in () if usual else zip(_LEAST, sizes, strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < _LEAST[field]:
            raise ProblemError(
                f"{field} must be an integer of at least {_LEAST[field]}, but got {quoted(value)}."
            )
        if value > MOST_ON_AN_AXIS:
            raise ProblemError(
                f"{field} must be at most {MOST_ON_AN_AXIS}, what kernels can count to, but got {quoted(value)}."
            )
    if problem.bias > 1:
        raise ProblemError(f"bias must be 0 or 1, but got {problem.bias}.")
    if problem.dtype != "float32" and problem.precision != "ieee":
        raise ProblemError(
            f"precision of {problem.dtype} must be 'ieee', but got {problem.precision!r}: only float32 has a choice."
        )
    for field in ("c_in", "c_out"):
        if getattr(problem, field) % problem.groups:
            raise ProblemError(
                f"{field} must be divisible by groups, but got {field}={getattr(problem, field)}, groups={problem.groups}."
            )
    _check_axes(problem)
    for name in ("input", "weight", "output"):
        if (elements := getattr(problem, f"{name}s")) > MOST_ELEMENTS:
            raise ProblemError(
                f"{name} must have at most 2**60 - 1 elements, whose bytes 64 bits can count, but would have {elements}: take smaller sizes."
            )
    return problem


def _check_axes(problem: Problem) -> None:
    extents, out_extents, transposed = problem.extents, problem.out_extents, problem.transposed
    missing = 3 - problem.rank
    axes = zip(
        extents, problem.kernel, problem.stride, problem.padding, problem.output_padding, problem.dilation, strict=True
    )  # fmt: skip
    for axis, given in enumerate(axes):
        name = ("depth", "height", "width")[axis]
        if axis < missing:
            if given != (1, 1, 1, 0, 0, 1):
                raise ProblemError(
                    f"{name} of a {problem.op} must be size 1, kernel 1, stride 1, padding 0, output_padding 0, dilation 1, but got {given}."
                )
            continue
        extent, _, stride, padding, output_padding, dilation = given
        if output_padding and not transposed:
            raise ProblemError(
                f"output_padding of a {problem.op} must be 0, but got {problem.output_padding}."
            )
        if output_padding and output_padding >= max(stride, dilation):
            raise ProblemError(
                f"output_padding must be smaller than stride or dilation ({max(stride, dilation)}) in {name}, but got {output_padding}."
            )
        if out_extents[axis] < 1:
            raise ProblemError(
                f"the output must have at least 1 element in {name}, but it would have {out_extents[axis]}: enlarge the input or the padding."
            )
        # The padded input, or the output of a transposed one before padding is taken off: nothing else on the axis is longer.
        longest = (out_extents[axis] if transposed else extent) + 2 * padding
        if longest > MOST_ON_AN_AXIS:
            raise ProblemError(
                f"{name} with padding must have at most {MOST_ON_AN_AXIS} positions, what kernels can count to, but would have {longest}: take smaller sizes."
            )
