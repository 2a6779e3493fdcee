"""Where an output finds its inputs, axis by axis: plain, phase by phase, or by divisibility masks."""

from math import gcd
from typing import Any, NamedTuple

import triton
import triton.language as tl

from tunedb.problem import Problem

__all__ = [
    "Axis",
    "Constants",
    "axes",
    "constants",
    "first_tap",
    "inside",
    "is_large",
    "phase_lengths",
    "phases",
    "problem_constants",
    "taps_of_phase",
]


class Axis(NamedTuple):
    """The geometry of one spatial axis, a compile-time constant of every kernel.

    The outputs of an axis fall into `phases` classes: output o = phase + phases * j. Its taps are
    k = k0 + t * hop for t = 0 … count-1, and tap t reads the input at
    (start + j * step + t * reach) / divisor, which must be exact and inside the input.

    A forward convolution has one phase, start -padding, step stride, reach dilation. A transposed one has
    `stride` phases, each a convolution of unit step (see `first_tap`); or, with masks, one phase whose
    taps are all tried and kept where the stride divides their position.
    """

    taps: int
    phases: int
    hop: int
    step: int
    reach: int
    divisor: int
    offset: int
    common: int  # gcd(stride, dilation): phases that it does not divide have no taps
    inverse: int  # of dilation / common, modulo hop
    guard: int  # whether a tap can fall outside the input


class Constants(NamedTuple):
    """What a problem fixes at compile time: the argument PROBLEM of every kernel, which reads it as PROBLEM.c_in."""

    c_in: int  # of a group
    c_out: int  # of a group
    groups: int
    axis_d: Axis
    axis_h: Axis
    axis_w: Axis
    has_bias: int
    channels_last: int
    large: int  # whether one sample needs 64-bit offsets
    even_in: int  # the greatest power of two, at most 16, that divides the width of the input
    even_out: int  # the same of the output


def problem_constants(problem: Problem, geometry: tuple[Axis, Axis, Axis]) -> Constants:
    """Return the compile-time facts of a problem whose axes are read as `geometry` says."""
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
        # Triton specialises on divisibility by 16 only: smaller factors of a row's length widen copies too.
        even_in=gcd(problem.in_w, 16),
        even_out=gcd(problem.out_extents[2], 16),
    )


def axes(problem: Problem, *, masked: bool = False) -> tuple[Axis, Axis, Axis]:
    """Return depth, height and width; `masked` asks for divisibility masks instead of phases."""
    found = []
    given = zip(
        problem.kernel, problem.stride, problem.padding, problem.output_padding, problem.dilation, strict=True
    )
    for k, s, p, op, d in given:
        if not problem.transposed:
            found.append(Axis(k, 1, 1, s, d, 1, -p, 1, 0, int(p > 0)))
            continue
        # With k <= s every phase has at most one tap, on the input of its own index.
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


def phases(geometry: tuple[Axis, Axis, Axis]) -> int:
    """Return how many output phases there are."""
    depth, height, width = geometry
    return depth.phases * height.phases * width.phases


def phase_lengths(problem: Problem, geometry: tuple[Axis, Axis, Axis]) -> tuple[int, int, int]:
    """Return the length of the longest phase of each axis, which is phase 0, in outputs."""
    depth, height, width = (
        -(-out // axis.phases) for out, axis in zip(problem.out_extents, geometry, strict=True)
    )
    return depth, height, width


def taps_of_phase(axis: Axis, phase: int) -> tuple[int, int, int]:
    """Return the first tap k0, the number of taps, and the input position of output 0 under tap k0.

    With c = phase + padding, g = gcd(stride, dilation), T = stride / g: no taps where g does not divide c;
    else k0 = (c / g) * inverse(dilation / g mod T) mod T and the start is (c - k0 * dilation) / stride,
    which is exact. (Solving o + p = i * s + k * d for i and k.)
    """
    c = phase + axis.offset
    if c % axis.common:
        return 0, 0, 0
    k0 = (c // axis.common * axis.inverse) % axis.hop
    count = max(0, -(-(axis.taps - k0) // axis.hop))
    return k0, count, (c + k0 * axis.reach * axis.common) // axis.phases


def is_large(problem: Problem) -> bool:
    """Return whether one sample of the input or the output needs 64-bit offsets."""
    depth, height, width = problem.out_extents
    x = problem.c_in * problem.in_d * problem.in_h * problem.in_w
    return max(x, problem.c_out * depth * height * width) >= 2**31


def constants(problem: Problem, geometry: tuple[Axis, Axis, Axis], config: Any) -> dict[str, Any]:
    """Return the compile-time arguments by the names that the kernels share, and the config's own fields."""
    return {
        "C_IN": problem.c_in // problem.groups,
        "C_OUT": problem.c_out // problem.groups,
        "GROUPS": problem.groups,
        "AXIS_D": geometry[0],
        "AXIS_H": geometry[1],
        "AXIS_W": geometry[2],
        "HAS_BIAS": problem.bias,
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
        "LARGE": int(is_large(problem)),
        # Factors of the rows' lengths below 16, which Triton does not specialise on: wider copies for many widths.
        "EVEN_IN": gcd(problem.in_w, 16),
        "EVEN_OUT": gcd(problem.out_extents[2], 16),
        **{field: value for field, value in config._asdict().items() if not field.startswith("num_")},
    }


@triton.jit
def first_tap(phase, AXIS: tl.constexpr):
    """The same as taps_of_phase, on the device: k0, count, start."""
    c = phase + AXIS.offset
    if AXIS.hop > 1:
        k0 = (c // AXIS.common * AXIS.inverse) % AXIS.hop
    else:
        k0 = 0 * c
    # taps >= 1 and k0 < hop, so the dividend is never negative: the quotient is floor and 0 where k0 >= taps.
    count = (AXIS.taps - k0 + AXIS.hop - 1) // AXIS.hop
    if AXIS.common > 1:
        count = tl.where(c % AXIS.common == 0, count, 0)
    start = c + k0 * AXIS.reach * AXIS.common
    if AXIS.phases > 1:
        # Exact where there are taps, so that the sign of the dividend does not matter.
        start = start // AXIS.phases
    return k0, count, start


@triton.jit
def inside(position, extent, AXIS: tl.constexpr):
    """Return the input index of a position and whether a tap there counts."""
    index = position
    ok = position >= 0
    if AXIS.divisor > 1:
        index = position // AXIS.divisor
        ok = ok & (index * AXIS.divisor == position)
    return index, ok & (index < extent)
