"""The packed layout of an input: where zeros, channels and windows lie, for the host and for the device.

    row:  |0|x0 c0..7|x1 c0..7|x2 c0..7| ... |0|       one row of the inner axis: c0..7 are the channels of a group
    window of output o = positions [o * step, o * step + taps) of the row: one contiguous run

The packed input is [groups, n, outer axis, middle axis, row]. The problem chooses which spatial axis is the innermost. Each
axis is as long as the windows reach, with the zeros of the border written out. The channels of a group are made up to whole
vectors, so that every window starts aligned.
"""

from math import gcd
from typing import NamedTuple

import triton
import triton.language as tl

from tunedb.problem import ITEM_BYTES, Problem

__all__ = [
    "Packing",
    "Residues",
    "Side",
    "packed_elements",
    "packed_length",
    "packed_lengths",
    "packed_strides",
    "packing_of",
    "positions",
    "row_elements",
]

ROW_ALIGN = 16  # elements: a row starts where any vector load may
LONGEST_STRIDE = 16  # of a transposed convolution


class Side(NamedTuple):
    """One spatial axis of the packed input: tap t of the window of output o is at o * step + t * reach."""

    taps: int
    step: int
    reach: int
    lead: int  # zeros before the first input; negative where inputs before the first window are left out


class Residues(NamedTuple):
    """The outputs of an axis that share a position: residues 0 ... live * gap - 1 of a strided transposed convolution.

    The residue of output o is o mod stride; each residue is a convolution of its own. If gcd(stride, dilation) > 1 only the
    residues first + gap * q for q = 0 ... live - 1 get taps, gap being that divisor; the others equal the bias. A divisor other
    than 1, 2 and 4 counts as gap 1: all residues are live, some with zero weights.
    """

    live: int
    gap: int
    first: int


class Packing(NamedTuple):
    """The packed layout, extents apart: a compile-time constant of the pass that packs and of the product."""

    depth: Side
    height: Side
    width: Side
    inner: int  # the axis whose taps lie side by side: 0 depth, 1 height, 2 width
    channels: int  # of a group, padded
    residues: tuple[
        Residues, Residues, Residues
    ]  # of depth, height, width; (1, 1, 0) unless strided and transposed
    # Neighbouring outputs of depth, height and width that share a window; one run then serves them all.
    wide: tuple[int, int, int] = (1, 1, 1)

    @property
    def sides(self) -> tuple[Side, Side, Side]:
        return self.depth, self.height, self.width

    @property
    def periods(self) -> tuple[int, int, int]:
        """Return how many residues of each axis share a position."""
        depth, height, width = (residues.live * residues.gap for residues in self.residues)
        return depth, height, width

    @property
    def strided(self) -> bool:
        """Return whether positions are shared by the residues of a strided transposed convolution."""
        return max(self.periods) > 1

    def spanning(self, span: int) -> "Packing":
        """Return the layout in which `span` neighbouring outputs along the inner axis share a window.

        With residues a span is the residues of the width, which share a position already: nothing changes.
        """
        if self.strided:
            return self
        depth, height, width = (span if axis == self.inner else 1 for axis in range(3))
        return self._replace(wide=(depth, height, width))


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
        of_axis = Residues(1, 1, 0)
        if not problem.transposed:
            sides.append(Side(k, s, d, p))
        elif s == 1:
            sides.append(Side(k, 1, d, (k - 1) * d - p))
        else:
            reached = [(r + p - t * d) // s for t in range(k) for r in range(s) if (r + p - t * d) % s == 0]
            sides.append(Side(max(reached) - min(reached) + 1, 1, 1, -min(reached)))
            gap = gcd(s, d)
            # The kernel fills the gaps of a row by joining tiles, two at a time.
            of_axis = Residues(s // gap, gap, -p % gap) if gap in (1, 2, 4) else Residues(s, 1, 0)
        residues.append(of_axis)
    if problem.transposed and max(problem.stride) > LONGEST_STRIDE:
        return None
    # The longest run of neighbouring taps: width unless another axis has more.
    runs = [side.taps if side.reach == 1 else 1 for side in sides]
    strided = problem.transposed and max(problem.stride) > 1
    inner = 2 if strided else max((2, 1, 0), key=lambda axis: runs[axis])
    c_in = problem.c_in // problem.groups
    vector = 4 if c_in <= 4 else 16 // ITEM_BYTES[problem.dtype]
    depth, height, width = sides
    residues_d, residues_h, residues_w = residues
    channels = -(-c_in // vector) * vector
    return Packing(depth, height, width, inner, channels, (residues_d, residues_h, residues_w))


def row_elements(packing: Packing, length: int) -> int:
    """Return the elements of a packed row whose axis has that length."""
    return -(-length * packing.channels // ROW_ALIGN) * ROW_ALIGN


def packed_lengths(problem: Problem, packing: Packing, span: int) -> list[int]:
    """Return the packed lengths of depth, height and width, for whole spans of outputs along the inner axis."""
    outs = [-(-out // count) for out, count in zip(problem.out_extents, packing.periods, strict=True)]
    if not packing.strided:
        outs[packing.inner] = -(-outs[packing.inner] // span) * span
    # From the first tap of the first window to the last of the last.
    return [
        (out - 1) * side.step + (side.taps - 1) * side.reach + 1
        for side, out in zip(packing.sides, outs, strict=True)
    ]


def packed_elements(problem: Problem, packing: Packing, span: int) -> int:
    """Return the elements of the whole packed input."""
    total = problem.groups * problem.n
    for axis, length in enumerate(packed_lengths(problem, packing, span)):
        total *= row_elements(packing, length) if axis == packing.inner else length
    return total


@triton.jit
def positions(out, PACKING: tl.constexpr, AXIS: tl.constexpr):
    """Return how many positions axis AXIS has for `out` outputs: one for each span, or for each period of residues."""
    RESIDUES: tl.constexpr = PACKING.residues[AXIS]
    SPAN: tl.constexpr = PACKING.wide[AXIS]
    # An axis that the operation lacks is the constant 1, which has no methods of a tensor.
    count = tl.cast(out, tl.int32)
    if RESIDUES.live * RESIDUES.gap > 1:
        count = tl.cdiv(count, RESIDUES.live * RESIDUES.gap)
    elif SPAN > 1:
        count = tl.cdiv(count, SPAN)
    return count


@triton.jit
def packed_length(count, PACKING: tl.constexpr, AXIS: tl.constexpr):
    """Return the packed length of axis AXIS with `count` positions, the same as packed_lengths."""
    SIDE: tl.constexpr = PACKING.sides[AXIS]
    return (count * PACKING.wide[AXIS] - 1) * SIDE.step + ((SIDE.taps - 1) * SIDE.reach + 1)


@triton.jit
def packed_strides(len_d, len_h, len_w, PACKING: tl.constexpr):
    """Return the strides of depth, height, width and sample, in elements; those beyond a plane have 64 bits."""
    if PACKING.inner == 2:
        stride_w = PACKING.channels
        stride_h = (len_w * PACKING.channels + 15) // 16 * 16
        stride_d = tl.cast(stride_h, tl.int64) * len_h
        stride_n = stride_d * len_d
    elif PACKING.inner == 1:
        stride_h = PACKING.channels
        stride_w = (len_h * PACKING.channels + 15) // 16 * 16
        stride_d = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_d * len_d
    else:
        stride_d = PACKING.channels
        stride_w = (len_d * PACKING.channels + 15) // 16 * 16
        stride_h = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_h * len_h
    return stride_d, stride_h, stride_w, stride_n
