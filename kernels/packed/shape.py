"""What a config of kernels/packed.py makes of a problem: columns of its product, runs of its windows."""

import triton
from tunedb.kernels.shared.packing import Packing, row_elements

from tunedb.problem import Problem

__all__ = ["closest", "columns_of", "is_ready", "runs_of", "together_of"]


def together_of(packing: Packing) -> int:
    """Return the span of a strided problem: the live residues of a row, made up to a power of two."""
    return int(triton.next_power_of_2(packing.residues[2].live))


def columns_of(problem: Problem, packing: Packing, span: int) -> int:
    """Return how many sums a position has: channels of a group for every output that shares its window."""
    depth, height, _ = packing.residues
    return problem.c_out // problem.groups * depth.live * height.live * span


def is_ready(problem: Problem, packing: Packing) -> bool:
    """Return whether the input as it is has the layout that repacking would give, longer rows aside."""
    borders = any(side.lead for side in packing[:3]) or problem.transposed
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
    """Return the elements of a contiguous run of a window of `span` outputs, and how many runs a window has."""
    side = packing[packing.inner]
    wider = 0 if packing.strided else (span - 1) * side.step
    length = wider + side.taps if side.reach == 1 else 1
    taps = packing.depth.taps * packing.height.taps * packing.width.taps
    return length * packing.channels, taps // (side.taps if side.reach == 1 else 1)


def closest(size: int, columns: int) -> int:
    """Return three quarters of a block of `size` columns where that leaves fewer columns empty, else `size`."""
    less = size // 4 * 3
    saves = -(-columns // less) * less < -(-columns // size) * size
    return less if less >= 48 and columns > size // 2 and saves else size
