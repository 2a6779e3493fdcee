"""Which outputs a program owns: from program ids to tiles, and from tiles to output rows and columns."""

import triton
import triton.language as tl

__all__ = [
    "columns",
    "divisor",
    "outer_and_inner",
    "place",
    "residue_length",
    "rows",
    "split_residue",
    "tile_at",
    "tile_order",
]


@triton.jit
def outer_and_inner(OUTER: tl.constexpr, INNER, PHASE: tl.constexpr):
    """Return (outer, inner): the number of a program's residue and group, one of OUTER, and that of its tile, one of INNER.

    PHASE is the place of `outer` in the grid: "axis" a grid axis of its own; "fast" the fastest part of axis 0, so that programs
    of neighbouring residues run together and L2 merges the sectors that they fill; "slow" the slowest part of axis 0.
    """
    if PHASE == "axis":
        outer = tl.program_id(2)
        inner = tl.program_id(0)
    elif OUTER == 1:
        outer = 0
        inner = tl.program_id(0)
    elif PHASE == "fast":
        outer = tl.program_id(0) % OUTER
        inner = tl.program_id(0) // OUTER
    else:
        outer = tl.program_id(0) // INNER
        inner = tl.program_id(0) % INNER
    return outer, inner


@triton.jit
def tile_order(inner, num_m, NUM_N: tl.constexpr, ORDER: tl.constexpr):
    """Return (pid_m, pid_n), which tile of rows and of channels a program owns.

    ORDER: "m" has n on grid axis 1; "n" goes through all n of a row of tiles, then to the next; "swizzle" goes through 8 rows of
    tiles column by column, so that programs which run together share more operands in L2.
    """
    if ORDER == "m":
        pid_m = inner
        pid_n = tl.program_id(1)
    elif ORDER == "n":
        pid_m = inner // NUM_N
        pid_n = inner % NUM_N
    else:
        first_m = inner // (8 * NUM_N) * 8
        size_m = tl.minimum(num_m - first_m, 8)
        local = inner % (8 * NUM_N)
        pid_m = first_m + local % size_m
        pid_n = local // size_m
    return pid_m, pid_n


@triton.jit
def tile_at(pid, num_m, NUM_N: tl.constexpr, ORDER: tl.constexpr):
    """Return (pid_m, pid_n, group) on a grid of one axis: groups vary slowest; ORDER is as in tile_order."""
    tiles = num_m * NUM_N
    group = pid // tiles
    if ORDER == "m":
        pid_m = pid % num_m
        pid_n = pid // num_m % NUM_N
    else:
        pid_m, pid_n = tile_order(pid % tiles, num_m, NUM_N, ORDER)
    return pid_m, pid_n, group


@triton.jit
def split_residue(residue, PROBLEM: tl.constexpr):
    """Return (residue_d, residue_h, residue_w) from one number for all three, in which width varies fastest."""
    if PROBLEM.axis_w.residues == 1:
        residue_w = 0
    else:
        residue_w = residue % PROBLEM.axis_w.residues
        residue = residue // PROBLEM.axis_w.residues
    if PROBLEM.axis_h.residues == 1:
        residue_h = 0
    else:
        residue_h = residue % PROBLEM.axis_h.residues
        residue = residue // PROBLEM.axis_h.residues
    if PROBLEM.axis_d.residues == 1:
        residue_d = 0
    else:
        residue_d = residue
    return residue_d, residue_h, residue_w


@triton.jit
def residue_length(extent, residue, AXIS: tl.constexpr):
    """Return how many outputs of an axis, `extent` long, have this residue."""
    if AXIS.residues == 1:
        length = extent
    else:
        length = (extent - residue + AXIS.residues - 1) // AXIS.residues
    return length


@triton.jit
def divisor(count):
    """Return max(count, 1): a count that may be 0, made safe to divide by.

    A residue may have no taps, and a short axis no outputs of it. Without this a GPU can hang (seen on an H200): Triton's
    pipeliner computes indices before the loop, whether or not the loop has steps. From a division by `count` there LLVM
    concludes that `count` is not 0, and drops the test that ends a loop of no steps.
    """
    return tl.maximum(count, 1)


@triton.jit
def rows(pid_r, n, len_d, len_h, BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr):
    """Return (sample, j_d, j_h, ok) of the BLOCK_R output rows of a tile; ok says that the row exists.

    For one row these are scalars, so that its addresses and masks are the same in all threads. For more they are vectors of
    BLOCK_R * BLOCK_W, in which each row's number is repeated along its columns.
    """
    if BLOCK_R == 1:
        row = pid_r
    else:
        row = pid_r * BLOCK_R + tl.arange(0, BLOCK_R * BLOCK_W) // BLOCK_W
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    return sample, j_d, j_h, row < n * len_d * len_h


@triton.jit
def columns(pid_w, BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr):
    """Return the output column j_w, [BLOCK_R * BLOCK_W], of each position of a tile of rows by columns."""
    if BLOCK_R == 1:
        offs = tl.arange(0, BLOCK_W)
    else:
        offs = tl.arange(0, BLOCK_R * BLOCK_W) % BLOCK_W
    return pid_w * BLOCK_W + offs


@triton.jit
def place(vector, AXIS: tl.constexpr):
    """Return a vector as a two-dimensional tile: its elements along AXIS, size 1 along the other."""
    if AXIS == 0:
        tile = vector[:, None]
    else:
        tile = vector[None, :]
    return tile
