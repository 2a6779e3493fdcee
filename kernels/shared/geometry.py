"""Which inputs an output reads, along one axis: forward, transposed by residues, or transposed with divisibility masks.

*Residue*: o mod stride of an output o of a strided transposed convolution. Each residue is a convolution of its own, of unit
step, with the taps that reach it.
"""

from math import gcd
from typing import NamedTuple

import triton
import triton.language as tl

from tunedb.problem import Problem

__all__ = [
    "Axis",
    "Constants",
    "axes",
    "first_tap",
    "inside",
    "is_large",
    "problem_constants",
    "residue_count",
    "residue_lengths",
    "taps_of_residue",
]


class Axis(NamedTuple):
    """The geometry of one spatial axis, a compile-time constant of every kernel.

    Output o = residue + residues * j, for a residue of 0 … residues-1. Its taps are k = k0 + t * hop for t = 0 … count-1, and
    tap t reads the input at (start + j * step + t * reach) / divisor. It counts where that is a whole number inside the input.

        axis                      residues start                  step     reach                    divisor
        forward                   1        -padding               stride   dilation                 1
        transposed                stride   see taps_of_residue    1        -dilation / common       1
        transposed, with masks    1        padding                1        -dilation                stride

    With masks every output tries all taps, and keeps those whose position the stride divides.
    """

    taps: int
    residues: int
    hop: int  # from one tap of a residue to its next
    step: int  # from the position of an output to that of the next of its residue
    reach: int  # from the position of a tap to that of the next
    divisor: int
    offset: int  # what is added to a residue: -padding forward, padding transposed
    common: int  # gcd(stride, dilation); a residue has no taps unless it divides residue + offset
    inverse: int  # of dilation / common, modulo hop
    guard: int  # 1: a tap can fall outside the input, so loads must be masked


class Constants(NamedTuple):
    """What a problem fixes at compile time: the constexpr PROBLEM of every kernel, which reads PROBLEM.c_in."""

    c_in: int  # of a group
    c_out: int  # of a group
    groups: int
    axis_d: Axis
    axis_h: Axis
    axis_w: Axis
    has_bias: int
    channels_last: int
    large: int  # 1: a sample has 2^31 elements or more, so offsets need 64 bits
    even_in: int  # the greatest power of two, at most 16, that divides the width of the input
    even_out: int  # the same of the output


def problem_constants(problem: Problem, geometry: tuple[Axis, Axis, Axis]) -> Constants:
    """Return what a problem whose axes have this geometry fixes at compile time."""
    return Constants(
        c_in=problem.c_in // problem.groups,
        c_out=problem.c_out // problem.groups,
        groups=problem.groups,
        axis_d=geometry[0],
        axis_h=geometry[1],
        axis_w=geometry[2],
        has_bias=problem.bias,
        channels_last=int(problem.layout == "channels_last"),
        large=int(is_large(problem)),
        # Triton specialises on divisibility by 16 only. Factors below 16 of a row's length allow wider copies too.
        even_in=gcd(problem.in_w, 16),
        even_out=gcd(problem.out_extents[2], 16),
    )


def axes(problem: Problem, *, masked: bool = False) -> tuple[Axis, Axis, Axis]:
    """Return depth, height and width; `masked` asks for divisibility masks instead of residues."""
    found = []
    given = zip(
        problem.kernel, problem.stride, problem.padding, problem.output_padding, problem.dilation, strict=True
    )
    for k, s, p, op, d in given:
        if not problem.transposed:
            found.append(Axis(k, 1, 1, s, d, 1, -p, 1, 0, int(p > 0)))
            continue
        # With k <= s a residue has at most one tap, and its output j reads input j, which exists.
        guard = int(not (k <= s and p == 0 and op == 0 and d == 1))
        if masked:
            found.append(Axis(k, 1, 1, 1, -d, s, p, 1, 0, int(guard or s > 1)))
        else:
            common = gcd(s, d)
            hop = s // common
            inverse = pow(d // common, -1, hop) if hop > 1 else 0
            found.append(Axis(k, s, hop, 1, -(d // common), 1, p, common, inverse, guard))
    depth, height, width = found
    return depth, height, width


def residue_count(geometry: tuple[Axis, Axis, Axis]) -> int:
    """Return how many residues the outputs have, over all three axes."""
    depth, height, width = geometry
    return depth.residues * height.residues * width.residues


def residue_lengths(problem: Problem, geometry: tuple[Axis, Axis, Axis]) -> tuple[int, int, int]:
    """Return how many outputs residue 0 of each axis has; no other has more."""
    depth, height, width = (
        -(-out // axis.residues) for out, axis in zip(problem.out_extents, geometry, strict=True)
    )
    return depth, height, width


def taps_of_residue(axis: Axis, residue: int) -> tuple[int, int, int]:
    """Return a residue's first tap k0, its number of taps, and the input position of its output 0 under tap k0.

    With c = residue + padding, g = gcd(stride, dilation), T = stride / g: no taps where g does not divide c;
    else k0 = (c / g) * inverse(dilation / g mod T) mod T and the start is (c - k0 * dilation) / stride,
    which is exact. (Solving o + p = i * s + k * d for i and k.)
    """
    c = residue + axis.offset
    if c % axis.common:
        return 0, 0, 0
    k0 = (c // axis.common * axis.inverse) % axis.hop
    count = max(0, -(-(axis.taps - k0) // axis.hop))
    return k0, count, (c + k0 * axis.reach * axis.common) // axis.residues


def is_large(problem: Problem) -> bool:
    """Return whether one sample of the input or the output needs 64-bit offsets."""
    depth, height, width = problem.out_extents
    x = problem.c_in * problem.in_d * problem.in_h * problem.in_w
    return max(x, problem.c_out * depth * height * width) >= 2**31


@triton.jit
def first_tap(residue, AXIS: tl.constexpr):
    """Return k0, count and start of a residue, as taps_of_residue does on the host."""
    c = residue + AXIS.offset
    if AXIS.hop > 1:
        k0 = (c // AXIS.common * AXIS.inverse) % AXIS.hop
    else:
        k0 = 0 * c
    # Triton's // rounds towards zero. The dividend is not negative, since taps >= 1 and k0 < hop, so that this is the floor:
    # 0 taps where k0 >= taps.
    count = (AXIS.taps - k0 + AXIS.hop - 1) // AXIS.hop
    if AXIS.common > 1:
        count = tl.where(c % AXIS.common == 0, count, 0)
    start = c + k0 * AXIS.reach * AXIS.common
    if AXIS.residues > 1:
        # Where there are taps the division is exact, so rounding towards zero is right for a negative dividend too.
        start = start // AXIS.residues
    return k0, count, start


@triton.jit
def inside(position, extent, AXIS: tl.constexpr):
    """Return the input index at a position, position / divisor, and whether it is a whole number inside the input."""
    index = position
    ok = position >= 0
    if AXIS.divisor > 1:
        index = position // AXIS.divisor
        ok = ok & (index * AXIS.divisor == position)
    return index, ok & (index < extent)
