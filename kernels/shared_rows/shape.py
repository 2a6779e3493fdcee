"""What a config of shared_rows makes of a problem: positions, taps, steps and blocks, for the host and for the kernel."""

from math import gcd
from typing import Any, NamedTuple

from tunedb.kernels.shared.packing import Packing, Side

from tunedb.problem import ITEM_BYTES, Problem

__all__ = ["Shape", "dense", "few", "position_extents", "positions", "shape_of", "wide"]


class Shape(NamedTuple):
    """What a config makes of a problem: the argument SHAPE of the kernel. A position is an index along a row."""

    depth: Side
    height: Side
    width: Side
    residues_d: int  # outputs of each axis that share a position: the stride of a transposed problem, else 1
    residues_h: int
    residues_w: int
    wide: int  # residues_w rounded up to a power of two: these are rows of one product
    few: int  # 1: a tap joins 4 channels of each of BLOCK_K / 4 neighbouring positions
    vector: int  # elements in 16 bytes, the unit in which rows lie in shared memory
    channels: int  # output channels of a block
    blocks_m: int  # blocks of one group, and of one residue of depth and height
    blocks: int  # of all groups and residues: programs that read the same rows
    pair: int  # neighbouring positions that a thread loads at once
    halo: int  # last positions of a tile that are loaded but not stored: the windows of others reach them
    past: int  # positions beyond the end of a row's memory that windows of the halo read
    pitch: int  # the positions of a row are a multiple of it
    valid: int  # positions of a tile that are stored
    taps_w: int  # windows of a row: the taps along the width
    shift: int  # positions from one window of a row to the next
    taps: int  # of a step
    chunks: int  # of BLOCK_K input channels
    heights: int  # steps along the height, of HIGH taps each
    steps: int
    read: int  # rows of input that a step has in shared memory


def shape_of(problem: Problem, packing: Packing, config: Any) -> Shape:
    item, width, height = ITEM_BYTES[problem.dtype], packing.width, packing.height
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    residues_d, residues_h, residues_w = packing.periods
    channels_first = problem.layout == "channels_first"
    joined = few(problem)
    loaded = config.BLOCK_N * config.BLOCK_K // (32 * config.num_warps)  # elements of a row, by a thread
    # A thread should load 4 bytes or more at once: two neighbours of float16.
    pair = 2 if channels_first and item == 2 and problem.in_w % 2 == 0 and loaded >= 16 and not joined else 1
    together = config.BLOCK_K // 4 if joined else 1  # neighbouring taps that are joined into one
    taps_w = -(-width.taps // together)
    shift = together * width.reach // width.step
    halo = (taps_w - 1) * shift + -width.lead % pair
    channels = config.BLOCK_M // (config.STACK * wide(packing))
    blocks_m = -(-c_out // channels)
    chunks = 1 if joined else -(-c_in // config.BLOCK_K)
    heights = (height.taps + config.STACK - 1) // config.HIGH
    return Shape(
        depth=packing.depth,
        height=height,
        width=width,
        residues_d=residues_d,
        residues_h=residues_h,
        residues_w=residues_w,
        wide=wide(packing),
        few=int(joined),
        vector=16 // item,
        channels=channels,
        blocks_m=blocks_m,
        blocks=problem.groups * residues_d * residues_h * blocks_m,
        pair=pair,
        halo=halo,
        past=-(-halo // 8) * 8,
        pitch=max(pair, gcd(problem.out_extents[2], 8) // wide(packing)) if channels_first else 1,
        valid=(config.BLOCK_N - halo) // 8 * 8,
        taps_w=taps_w,
        shift=shift,
        taps=config.HIGH * taps_w,
        chunks=chunks,
        heights=heights,
        steps=packing.depth.taps * heights * chunks,
        read=(config.LINES - 1) * config.STACK + config.HIGH if config.HIGH > 1 else config.LINES,
    )


def positions(problem: Problem, packing: Packing, config: Any, shape: Shape) -> int:
    """Return the positions of all rows, each with the halo that its windows reach beyond it."""
    depth, height, width = position_extents(problem, packing)
    pitch = -(-(width + shape.halo) // shape.pitch) * shape.pitch
    return problem.n * depth * -(-height // (config.LINES * config.STACK)) * pitch


def few(problem: Problem) -> bool:
    """Return whether a group has so few input channels that a vector holds those of neighbouring positions."""
    return problem.c_in // problem.groups <= 4


def wide(packing: Packing) -> int:
    """Return the residues of the width, which are rows of one product, rounded up to a power of two."""
    return 1 << (packing.periods[2] - 1).bit_length()


def position_extents(problem: Problem, packing: Packing) -> list[int]:
    """Return the positions of depth, height and width: outputs, or groups of outputs that share one where they are residues."""
    return [-(-out // count) for out, count in zip(problem.out_extents, packing.periods, strict=True)]


def dense(packing: Packing) -> bool:
    """Return whether neighbouring rows of output read neighbouring rows of input, most of them the same."""
    return packing.height.step == 1 and packing.height.reach == 1 and 2 <= packing.height.taps <= 9
