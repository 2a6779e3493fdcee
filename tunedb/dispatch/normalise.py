"""From torch's arguments to a problem, or to the word that torch should answer itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tunedb.errors import ProblemError
from tunedb.problem import DTYPES, Problem, checked, is_transposed, rank
from tunedb.torch_internals import conv_precision

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Call", "allow_tf32", "is_channels_last", "named_padding", "normalised", "per_axis"]

Size = int | Sequence[int]


class Call(NamedTuple):
    """A call in tunedb's terms. Sizes are in elements; `pad` is what padding="same" adds at the far ends first."""

    problem: Problem
    batched: bool  # False: the input came without a batch dimension and the output goes without one
    pad: tuple[int, ...]  # for torch.nn.functional.pad: innermost axis first; () for none


def normalised(
    op: str,
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None",
    stride: Size,
    padding: Size | str,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Call | str:
    """Return the problem of a call, or why torch must answer it.

    Nothing is raised for wrong arguments: torch's own function is called with them and says what is wrong.
    """
    axes = rank(op)
    dtype = str(x.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        return f"tunedb has kernels for {', '.join(DTYPES)}, not for {dtype}"
    if weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        return "input, weight and bias differ in dtype"
    if weight.device != x.device or (bias is not None and bias.device != x.device):
        return "input, weight and bias are on different devices"
    batched = x.dim() == axes + 2
    if (not batched and x.dim() != axes + 1) or weight.dim() != axes + 2:
        return f"a {op} takes an input of {axes + 1} or {axes + 2} dimensions and a weight of {axes + 2}"
    sizes = {"stride": stride, "output_padding": output_padding, "dilation": dilation}
    lists = {name: per_axis(size, axes) for name, size in sizes.items()}
    dil = lists["dilation"]
    if isinstance(padding, str) and is_transposed(op):
        return f"a {op} takes no named padding"
    if isinstance(padding, str):
        pads, pad = named_padding(padding, weight.shape[2:], lists["stride"], dil)
    else:
        pads, pad = per_axis(padding, axes), ()
    if pads is None or None in lists.values() or type(groups) is not int or groups < 1:
        return "stride, padding, output_padding, dilation or groups is none that torch takes"
    n, c_in, *extents = x.shape if batched else (1, *x.shape)
    for index, extra in enumerate(reversed(pad[1::2])):
        extents[index] += extra
    c_out = weight.shape[1] * groups if is_transposed(op) else weight.shape[0]
    channels = weight.shape[0] if is_transposed(op) else weight.shape[1] * groups
    if channels != c_in or (bias is not None and bias.shape != (c_out,)):
        return "the channels of input, weight and bias do not agree"
    last = batched and axes > 1 and (is_channels_last(x) or is_channels_last(weight))
    lead = 3 - axes
    problem = Problem(
        op, dtype, "tf32" if dtype == "float32" and allow_tf32() else "ieee",
        "channels_last" if last else "channels_first",
        n, c_in, c_out, groups, int(bias is not None),
        *(1,) * lead, *extents, *(1,) * lead, *weight.shape[2:], *(1,) * lead, *(lists["stride"] or ()),
        *(0,) * lead, *pads, *(0,) * lead, *(lists["output_padding"] or ()), *(1,) * lead, *(dil or ()),
    )  # fmt: skip
    try:
        return Call(checked(problem), batched, pad)
    except ProblemError as error:
        return str(error)


def per_axis(size: object, axes: int) -> tuple[int, ...] | None:
    """Return a size for each axis, or None where torch would not take it either."""
    if type(size) is int:
        return (size,) * axes
    if not isinstance(size, tuple | list) or not all(type(one) is int for one in size):
        return None
    return tuple(size) * axes if len(size) == 1 else tuple(size) if len(size) == axes else None


def named_padding(
    name: str, kernel: Sequence[int], stride: tuple[int, ...] | None, dilation: tuple[int, ...] | None
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return "valid" or "same" as numbers, and the odd elements that "same" adds at the far end of an axis."""
    if name == "valid":
        return (0,) * len(kernel), ()
    if name != "same" or dilation is None or stride is None or any(step != 1 for step in stride):
        return None, ()
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    pad = tuple(size for one in reversed(total) for size in (0, one % 2))
    return tuple(one // 2 for one in total), pad if any(pad) else ()


def is_channels_last(tensor: "Tensor") -> bool:
    """Return whether torch would take a 4-D or 5-D tensor's strides for channels_last; ambiguous ones are not."""
    order = (1, *range(tensor.dim() - 1, 1, -1), 0)
    shape, strides = tensor.shape, tensor.stride()
    if strides[1] == 0:
        return False
    least = 0
    for axis in order:
        if shape[axis] == 0 or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(shape[axis], 1)
    return True


def allow_tf32() -> bool:
    """Return whether torch's settings let a float32 convolution use TF32."""
    return conv_precision("cuda", "conv") == "tf32"
