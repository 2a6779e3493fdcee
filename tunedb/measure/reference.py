"""The definition of a convolution, in float64, and how far a result is from it."""

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from tunedb.problem import Problem
from tunedb.weights.layout import nearest_tf32

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Deviation", "Part", "choose_part", "cut", "deviation", "reference", "tf32_deviation"]

# What a reference may cost: 1e11 bytes moved are 50 ms on an H200, 1e12 operations about as much; the
# doubles that are alive together stay under 8 GB.
MOVED_LIMIT = 1e11
FLOPS_LIMIT = 1e12
ALIVE_LIMIT = 8e9
FEWEST = 8  # channels or groups: below that, copying the input for each tap is all the cost


class Part(NamedTuple):
    """The part of an output that is checked against float64: these samples, groups, and channels of each group."""

    samples: tuple[int, ...]
    groups: tuple[int, ...]
    channels: tuple[int, ...]


class Deviation(NamedTuple):
    """How far a result is from the reference."""

    error: float  # ||out - ref|| / ||ref||; inf where anything is NaN or infinite
    largest: float  # max |out - ref|


def choose_part(problem: Problem) -> Part:
    """Return the part of the output whose float64 reference is affordable, all of it where that is.

    The first and the last sample, group and channel are always in it: that is where indices overflow. Where
    even two samples are too many, fewer groups are taken, or fewer channels of the only group. One sample
    that is huge by itself may still cost a few times the limits.
    """
    everything = Part(
        tuple(range(problem.n)), tuple(range(problem.groups)), tuple(range(problem.c_out // problem.groups))
    )
    one = everything._replace(samples=(0,))
    samples = max(2, math.floor(1 / _share(problem, one)))
    part = everything._replace(samples=_spread(problem.n, samples))
    axis, size = ("groups", problem.groups) if problem.groups > 1 else ("channels", problem.c_out)
    count = size
    while _share(problem, part) > 1 and count > FEWEST:
        count = max(FEWEST, count * 3 // 4)
        part = part._replace(**{axis: _spread(size, count)})
    return part


def _share(problem: Problem, part: Part) -> float:
    """Return what a part costs as a share of what is allowed."""
    taps = math.prod(problem.kernel)
    positions = math.prod(problem.extents if problem.transposed else problem.out_extents)
    c_in = problem.c_in // problem.groups
    columns = len(part.samples) * len(part.groups) * positions
    flops = 2 * columns * taps * c_in * len(part.channels)
    # Every tap copies its input window and adds a product to the output.
    moved = 8 * columns * taps * (2 * c_in + 4 * len(part.channels))
    largest = max(math.prod(problem.extents), math.prod(problem.out_extents))
    alive = 8 * len(part.samples) * len(part.groups) * largest * (2 * c_in + 3 * len(part.channels))
    return max(flops / FLOPS_LIMIT, moved / MOVED_LIMIT, alive / ALIVE_LIMIT)


def _spread(size: int, count: int) -> tuple[int, ...]:
    """Return `count` indices below `size`, evenly, with the first and the last."""
    if count >= size:
        return tuple(range(size))
    return tuple(sorted({round(i * (size - 1) / (count - 1)) for i in range(count)}))


def cut(problem: Problem, output: "Tensor", part: Part) -> "Tensor":
    """Return the part of an output: [samples, groups, channels, depth, height, width], a copy unless it is all."""
    shape = (problem.groups, problem.c_out // problem.groups, *problem.out_extents)
    whole = output.view(output.shape[0], *shape)  # splitting an axis never copies, in either layout
    for axis, (indices, size) in enumerate(zip(part, whole.shape[:3], strict=True)):
        if len(indices) != size:
            whole = whole.index_select(axis, _index(indices, whole))
    return whole


def reference(
    problem: Problem,
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None",
    part: Part,
    *,
    rounded: bool = False,
) -> "Tensor":
    """Return a part of the exact result: float64 [samples, groups, channels, depth, height, width].

    With `rounded` it is the exact result for a float32 input and weight that are rounded to the nearest TF32 first.

    It is a sum over the kernel's taps of matrix products, straight from the definition: no library's
    convolution can be wrong or slow in it, whatever the strides, groups and dilations.
    """
    groups, c_in = problem.groups, problem.c_in // problem.groups
    x = x.index_select(0, _index(part.samples, x)) if len(part.samples) != problem.n else x
    x = x.reshape(len(part.samples), groups, c_in, *problem.extents)
    x = x.index_select(1, _index(part.groups, x))
    if problem.transposed:  # [groups, c_in, c_out, taps] -> [groups, c_out, c_in, taps]
        taps = weight.reshape(groups, c_in, problem.c_out // groups, -1).transpose(1, 2)
    else:
        taps = weight.reshape(groups, problem.c_out // groups, c_in, -1)
    taps = taps.index_select(0, _index(part.groups, x)).index_select(1, _index(part.channels, x))
    if rounded:
        x, taps = nearest_tf32(x), nearest_tf32(taps)
    out = (_scatter if problem.transposed else _gather)(problem, x.double(), taps.double())
    if bias is not None:
        chosen = (
            bias.reshape(groups, -1)
            .index_select(0, _index(part.groups, x))
            .index_select(1, _index(part.channels, x))
        )
        out += chosen.double()[None, :, :, None, None, None]
    return out


def tf32_deviation(
    problem: Problem, x: "Tensor", weight: "Tensor", bias: "Tensor | None", part: Part, exact: "Tensor"
) -> Deviation:
    """Return how far a float32 problem is from its reference if only its factors are rounded, to the nearest TF32.

    It follows from the problem's numbers alone: no GPU, library or order of summation has a part in it. It costs as much
    as the reference.
    """
    return deviation(reference(problem, x, weight, bias, part, rounded=True), exact)


def _gather(problem: Problem, x: "Tensor", weight: "Tensor") -> "Tensor":
    """out[o] = sum of weight[k] x[o stride + k dilation - padding]."""
    from torch.nn.functional import pad

    p_d, p_h, p_w = problem.padding
    x = pad(x, (p_w, p_w, p_h, p_h, p_d, p_d))
    out = x.new_zeros(x.shape[0], x.shape[1], weight.shape[1], *problem.out_extents)
    for tap, offsets in enumerate(itertools.product(*map(range, problem.kernel))):
        window = [
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(offsets, problem.dilation, problem.out_extents, problem.stride, strict=True)
        ]
        out += _product(weight[..., tap], x[:, :, :, *window])
    return out


def _scatter(problem: Problem, x: "Tensor", weight: "Tensor") -> "Tensor":
    """out[i stride + k dilation - padding] += weight[k] x[i]."""
    reach = [
        (i - 1) * s + d * (k - 1) + 1 + extra
        for i, s, d, k, extra in zip(
            problem.extents,
            problem.stride,
            problem.dilation,
            problem.kernel,
            problem.output_padding,
            strict=True,
        )
    ]
    out = x.new_zeros(x.shape[0], x.shape[1], weight.shape[1], *reach)
    for tap, offsets in enumerate(itertools.product(*map(range, problem.kernel))):
        window = [
            slice(k * d, k * d + (i - 1) * s + 1, s)
            for k, d, i, s in zip(offsets, problem.dilation, problem.extents, problem.stride, strict=True)
        ]
        out[:, :, :, *window] += _product(weight[..., tap], x)
    kept = [slice(p, p + o) for p, o in zip(problem.padding, problem.out_extents, strict=True)]
    return out[:, :, :, *kept]


def _product(weight: "Tensor", x: "Tensor") -> "Tensor":
    """[groups, c_out, c_in] x [n, groups, c_in, d, h, w] -> [n, groups, c_out, d, h, w]."""
    if weight.shape[-1] == 1:  # depthwise: a matrix product would be all overhead
        return weight[None, :, :, :, None, None] * x
    return (weight @ x.flatten(3)).view(*x.shape[:2], weight.shape[1], *x.shape[3:])


def deviation(out: "Tensor", exact: "Tensor") -> Deviation:
    """Return how far the part of a result is from its reference, of equal shapes."""
    difference = out.double() - exact
    error = float(difference.norm() / exact.norm().clamp_min(1e-300))
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    if not (math.isfinite(error) and math.isfinite(largest)):
        return Deviation(math.inf, math.inf)
    return Deviation(error, largest)


def _index(indices: tuple[int, ...], like: "Tensor") -> "Tensor":
    import torch

    return torch.tensor(indices, device=like.device)
