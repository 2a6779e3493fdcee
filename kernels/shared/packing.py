"""The packed layout of an input: where borders, channels and windows lie, for the host and for the device.

The packed input is [groups, n, outer, middle, row]: the three spatial axes, the innermost chosen by the problem, each
as long as the windows reach, with the zeros of the border written out; a row is its innermost axis with the channels
of a group, padded to a multiple of the vector, so that the taps of a window lie side by side and every window starts
aligned.
"""

from math import gcd
from typing import Any, NamedTuple

import triton
import triton.language as tl

from tunedb.problem import ITEM_BYTES, Problem

__all__ = [
    "Packing",
    "Residues",
    "Side",
    "layout_constants",
    "packed_elements",
    "packed_length",
    "packed_lengths",
    "packed_strides",
    "packing_of",
    "row_elements",
    "spots",
]

ROW_ALIGN = 16  # elements: a row starts where any vector load may
LONGEST_STRIDE = 16  # of a transposed convolution


class Side(NamedTuple):
    """One spatial axis of the packed input: window tap t of output o lies at o * step + t * reach."""

    taps: int
    step: int
    reach: int
    lead: int  # zeros before the first input; negative where inputs before the first window are left out


class Residues(NamedTuple):
    """The outputs of an axis that share a position: live * gap of them, of which those at first + gap * r have taps.

    With a common factor of stride and dilation the others have none, and are their bias.
    """

    live: int
    gap: int
    first: int


class Packing(NamedTuple):
    """What the packed layout depends on, sizes apart. Sides and residues are depth, height, width."""

    depth: Side
    height: Side
    width: Side
    inner: int  # the axis whose taps lie side by side: 0 depth, 1 height, 2 width
    channels: int  # of a group, padded
    residues: tuple[Residues, Residues, Residues]  # one of each, but for the strides of a transposed problem

    @property
    def periods(self) -> tuple[int, int, int]:
        """Return how many outputs of each axis share a position."""
        depth, height, width = (side.live * side.gap for side in self.residues)
        return depth, height, width

    @property
    def strided(self) -> bool:
        return max(self.periods) > 1


def packing_of(problem: Problem) -> Packing | None:
    """Return the packed layout of a problem, or None where it has none.

    A strided transposed convolution is one of stride 1 whose channels are its outputs' residues: output s * q + r of an
    axis reads inputs q + e where e = (r + padding - k * dilation) / s is exact, as sub-pixel convolution does (Shi et
    al., arXiv 1609.05158). Its window spans all e.
    """
    sides, residues = [], []
    for axis in range(3):
        k, s, p, d = (
            each[axis] for each in (problem.kernel, problem.stride, problem.padding, problem.dilation)
        )
        apart = Residues(1, 1, 0)
        if not problem.transposed:
            sides.append(Side(k, s, d, p))
        elif s == 1:
            sides.append(Side(k, 1, d, (k - 1) * d - p))
        else:
            reached = [(r + p - t * d) // s for t in range(k) for r in range(s) if (r + p - t * d) % s == 0]
            sides.append(Side(max(reached) - min(reached) + 1, 1, 1, -min(reached)))
            gap = gcd(s, d)
            # Gaps of a row are filled by joining tiles, two at a time.
            apart = Residues(s // gap, gap, -p % gap) if gap in (1, 2, 4) else Residues(s, 1, 0)
        residues.append(apart)
    if problem.transposed and max(problem.stride) > LONGEST_STRIDE:
        return None
    # The longest run of neighbouring taps: width unless another axis has more.
    runs = [side.taps if side.reach == 1 else 1 for side in sides]
    strided = problem.transposed and max(problem.stride) > 1
    inner = 2 if strided else max((2, 1, 0), key=lambda axis: runs[axis])
    c_in = problem.c_in // problem.groups
    vector = 4 if c_in <= 4 else 16 // ITEM_BYTES[problem.dtype]
    depth, height, width = sides
    along_d, along_h, along_w = residues
    channels = -(-c_in // vector) * vector
    return Packing(depth, height, width, inner, channels, (along_d, along_h, along_w))


def row_elements(packing: Packing, length: int) -> int:
    """Return the elements of a packed row whose axis has that length."""
    return -(-length * packing.channels // ROW_ALIGN) * ROW_ALIGN


def packed_lengths(problem: Problem, packing: Packing, span: int) -> list[int]:
    """Return the packed lengths of depth, height and width, for whole spans of outputs along the inner axis."""
    outs = [-(-out // count) for out, count in zip(problem.out_extents, packing.periods, strict=True)]
    if not packing.strided:
        outs[packing.inner] = -(-outs[packing.inner] // span) * span
    sides = packing[:3]
    # From the first tap of the first window to the last of the last.
    return [
        (out - 1) * side.step + (side.taps - 1) * side.reach + 1
        for side, out in zip(sides, outs, strict=True)
    ]


def packed_elements(problem: Problem, packing: Packing, span: int) -> int:
    """Return the elements of the whole packed input."""
    total = problem.groups * problem.n
    for axis, length in enumerate(packed_lengths(problem, packing, span)):
        total *= row_elements(packing, length) if axis == packing.inner else length
    return total


def layout_constants(problem: Problem, packing: Packing, span: int) -> dict[str, Any]:
    """Return the compile-time arguments that both the pass and the product take.

    WIDE_* are the neighbouring outputs of an axis that share a window: `span` along the inner one. Residues share a
    position of every axis instead.
    """
    names = ("D", "H", "W")
    inner = -1 if packing.strided else packing.inner
    return {
        "GROUPS": problem.groups,
        **{f"SIDE_{name}": side for name, side in zip(names, packing[:3], strict=True)},
        **{f"RES_{name}": residues for name, residues in zip(names, packing.residues, strict=True)},
        **{f"WIDE_{name}": span if axis == inner else 1 for axis, name in enumerate(names)},
        "INNER": packing.inner,
        "CHANNELS": packing.channels,
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
    }


@triton.jit
def spots(out, RES: tl.constexpr, SPAN: tl.constexpr):
    """Return how many positions an axis has: one for each `SPAN` outputs, or for each period of residues."""
    # An axis that the operation lacks is the constant 1, which has no methods of a tensor.
    count = tl.cast(out, tl.int32)
    if RES.live * RES.gap > 1:
        count = tl.cdiv(count, RES.live * RES.gap)
    elif SPAN > 1:
        count = tl.cdiv(count, SPAN)
    return count


@triton.jit
def packed_length(positions, SIDE: tl.constexpr, WIDE: tl.constexpr):
    """Return the packed length of an axis, the same as packed_lengths, of positions that move on by WIDE windows."""
    return (positions * WIDE - 1) * SIDE.step + ((SIDE.taps - 1) * SIDE.reach + 1)


@triton.jit
def packed_strides(len_d, len_h, len_w, INNER: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the strides of depth, height, width and sample, in elements; 64 bits beyond a plane."""
    if INNER == 2:
        stride_w = CHANNELS
        stride_h = (len_w * CHANNELS + 15) // 16 * 16
        stride_d = tl.cast(stride_h, tl.int64) * len_h
        stride_n = stride_d * len_d
    elif INNER == 1:
        stride_h = CHANNELS
        stride_w = (len_h * CHANNELS + 15) // 16 * 16
        stride_d = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_d * len_d
    else:
        stride_d = CHANNELS
        stride_w = (len_d * CHANNELS + 15) // 16 * 16
        stride_h = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_h * len_h
    return stride_d, stride_h, stride_w, stride_n
