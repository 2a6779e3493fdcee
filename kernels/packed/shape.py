"""What a config of packed makes of a problem: the columns of its product and the runs of its windows."""

from math import gcd
from typing import NamedTuple

import triton
from tunedb.kernels.packed.weights import window_row
from tunedb.kernels.shared.packing import Packing, row_elements

from tunedb.problem import Problem

__all__ = ["Shape", "closest", "columns_of", "is_ready", "residues_of_row", "runs_of", "shape_of"]


class Shape(NamedTuple):
    """The windows and spans of a product, a compile-time constant of the kernel."""

    run: int  # elements of a contiguous run of a window
    runs: int  # of a window
    window_row: int  # elements of a run in the packed weight
    whole: int  # 1: spans divide the outputs of the inner axis
    even_plane: int  # the greatest power of two, at most 16, that divides the outputs of a channel


def shape_of(problem: Problem, packing: Packing, span: int) -> Shape:
    """Return the windows of `span` outputs along the inner axis."""
    run, runs = runs_of(packing, span)
    depth, height, width = problem.out_extents
    whole = int(problem.out_extents[packing.inner] % span == 0)
    # Triton specialises on divisibility by 16 only: smaller factors widen stores too.
    return Shape(run, runs, window_row(run), whole, even_plane=gcd(depth * height * width, 16))


def residues_of_row(packing: Packing) -> int:
    """Return the span of a strided transposed problem: the residues of the width that have taps, made up to a power of two."""
    return int(triton.next_power_of_2(packing.residues[2].live))


def columns_of(problem: Problem, packing: Packing, span: int) -> int:
    """Return how many sums a position has: the channels of a group for every output that shares its window."""
    depth, height, _ = packing.residues
    return problem.c_out // problem.groups * depth.live * height.live * span


def is_ready(problem: Problem, packing: Packing) -> bool:
    """Return whether the input needs no packing: windows of whole spans find in it what they would in the packed input."""
    borders = any(side.lead for side in packing.sides) or problem.transposed
    length = (problem.in_d, problem.in_h, problem.in_w)[packing.inner]
    return (
        problem.layout == "channels_last"
        and packing.inner == 2
        and problem.groups == 1
        and packing.channels == problem.c_in
        and not borders
        and row_elements(packing, length) == length * problem.c_in
    )


def runs_of(packing: Packing, span: int) -> tuple[int, int]:
    """Return the elements of a contiguous run of a window of `span` outputs, and how many runs a window has.

    The taps of the inner axis are one run if they are neighbours; all other taps begin a run each.
    """
    side = packing.sides[packing.inner]
    wider = 0 if packing.strided else (span - 1) * side.step
    length = wider + side.taps if side.reach == 1 else 1
    taps = packing.depth.taps * packing.height.taps * packing.width.taps
    return length * packing.channels, taps // (side.taps if side.reach == 1 else 1)


def closest(size: int, columns: int) -> int:
    """Return three quarters of a block of `size` columns where that leaves fewer columns empty, else `size`."""
    less = size // 4 * 3
    saves = -(-columns // less) * less < -(-columns // size) * size
    return less if less >= 48 and columns > size // 2 and saves else size
