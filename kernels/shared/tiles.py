"""Which outputs a program owns: the decoding of program ids and of output rows, shared by the kernels."""

import triton
import triton.language as tl

__all__ = [
    "columns",
    "divisor",
    "outer_and_inner",
    "phase_length",
    "place",
    "rows",
    "split_residue",
    "tile_at",
    "tile_order",
]


@triton.jit
def outer_and_inner(OUTER: tl.constexpr, INNER, PHASE: tl.constexpr):
    """Split the program id into (phase and group, tile).

    PHASE says where the phases and groups go: "axis" a grid axis of their own, "fast" the fastest part of
    axis 0, so that L2 merges the sectors of neighbouring phases, "slow" the slowest.
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
    """Return (pid_m, pid_n): "m" has n on grid axis 1, "n" goes through n first, "swizzle" in groups of 8 rows."""
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
    """Return (pid_m, pid_n, group) of a program on a grid of one axis; groups are slowest, orders as in tile_order."""
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
    """Return the residue of each axis, of one number for all three; width varies fastest."""
    if PROBLEM.axis_w.phases == 1:
        residue_w = 0
    else:
        residue_w = residue % PROBLEM.axis_w.phases
        residue = residue // PROBLEM.axis_w.phases
    if PROBLEM.axis_h.phases == 1:
        residue_h = 0
    else:
        residue_h = residue % PROBLEM.axis_h.phases
        residue = residue // PROBLEM.axis_h.phases
    if PROBLEM.axis_d.phases == 1:
        residue_d = 0
    else:
        residue_d = residue
    return residue_d, residue_h, residue_w


@triton.jit
def phase_length(extent, phase, AXIS: tl.constexpr):
    """Return how many outputs of an axis belong to a phase."""
    if AXIS.phases == 1:
        length = extent
    else:
        length = (extent - phase + AXIS.phases - 1) // AXIS.phases
    return length


@triton.jit
def divisor(count):
    """Return a count that may be 0 as something to divide by.

    A phase may have no taps and a short axis no outputs. Triton's pipeliner computes indices ahead of the
    loop whether it runs or not, and LLVM takes a division by a run-time 0 as proof that the count is not 0:
    it then drops the test that ends a loop of no steps, and the GPU hangs (seen on an H200).
    """
    return tl.maximum(count, 1)


@triton.jit
def rows(pid_r, n, len_d, len_h, BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr):
    """Return (sample, j_d, j_h, row is real) of the BLOCK_R output rows of a tile.

    One row is scalars, so that its addresses and masks stay uniform; more are vectors of BLOCK_R * BLOCK_W,
    each row repeated along its columns.
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
    """Return the output column j_w of each position of a tile."""
    if BLOCK_R == 1:
        offs = tl.arange(0, BLOCK_W)
    else:
        offs = tl.arange(0, BLOCK_R * BLOCK_W) % BLOCK_W
    return pid_w * BLOCK_W + offs


@triton.jit
def place(vector, AXIS: tl.constexpr):
    """Lay a vector along an axis of a two-dimensional tile, size 1 in the other."""
    if AXIS == 0:
        tile = vector[:, None]
    else:
        tile = vector[None, :]
    return tile
