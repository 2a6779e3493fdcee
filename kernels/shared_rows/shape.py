"""What a config of kernels/shared_rows.py makes of a problem: positions, taps, steps and blocks."""

from math import gcd
from typing import Any, NamedTuple

from tunedb.kernels.shared.packing import Packing

from tunedb.problem import ITEM_BYTES, Problem

__all__ = ["Shape", "blocks", "dense", "few", "positions", "shape_of", "spots", "wide"]


class Shape(NamedTuple):
    """What a config makes of a problem."""

    pair: int  # neighbouring positions that are loaded at once
    halo: int  # positions beyond the stored ones of a tile that it reads
    pitch: int  # of which a row's positions are a multiple
    taps: int  # of a step
    steps: int
    read: int  # rows of input of a step
    valid: int  # positions of a tile that are stored


def shape_of(problem: Problem, packing: Packing, config: Any) -> Shape:
    item, width = ITEM_BYTES[problem.dtype], packing.width
    first = problem.layout == "channels_first"
    fetched = config.BLOCK_N * config.BLOCK_K // (32 * config.num_warps)
    # Two neighbouring float16 are the least that a thread should load.
    neighbours = few(problem)
    pair = 2 if first and item == 2 and problem.in_w % 2 == 0 and fetched >= 16 and not neighbours else 1
    together = config.BLOCK_K // 4 if neighbours else 1  # neighbouring taps that are one
    taps = -(-width.taps // together)
    halo = (taps - 1) * (together * width.reach // width.step) + -width.lead % pair
    return Shape(
        pair=pair,
        halo=halo,
        pitch=max(pair, gcd(problem.out_extents[2], 8) // wide(packing)) if first else 1,
        taps=config.HIGH * taps,
        steps=packing.depth.taps
        * ((packing.height.taps + config.STACK - 1) // config.HIGH)
        * (1 if neighbours else -(-(problem.c_in // problem.groups) // config.BLOCK_K)),
        read=(config.LINES - 1) * config.STACK + config.HIGH if config.HIGH > 1 else config.LINES,
        valid=(config.BLOCK_N - halo) // 8 * 8,
    )


def positions(problem: Problem, packing: Packing, config: Any, shape: Shape) -> int:
    """Return the positions of all rows, with those that their windows reach beyond them."""
    depth, height, width = spots(problem, packing)
    pitch = -(-(width + shape.halo) // shape.pitch) * shape.pitch
    return problem.n * depth * -(-height // (config.LINES * config.STACK)) * pitch


def blocks(problem: Problem, packing: Packing, config: Any) -> int:
    """Return how many blocks of channels there are, of all groups and of all residues of depth and height."""
    depth, height, _ = packing.periods
    channels = config.BLOCK_M // (config.STACK * wide(packing))
    return problem.groups * depth * height * -(-(problem.c_out // problem.groups) // channels)


def few(problem: Problem) -> bool:
    """Return whether a vector holds the channels of neighbouring positions."""
    return problem.c_in // problem.groups <= 4


def wide(packing: Packing) -> int:
    """Return the residues of the width that are rows of one product, made up to a power of two."""
    return 1 << (packing.periods[2] - 1).bit_length()


def spots(problem: Problem, packing: Packing) -> list[int]:
    """Return the positions of depth, height and width: outputs, or as many as share an input each."""
    return [-(-out // period) for out, period in zip(problem.out_extents, packing.periods, strict=True)]


def dense(packing: Packing) -> bool:
    """Return whether neighbouring rows of output read neighbouring rows of input, most of them the same."""
    return packing.height.step == 1 and packing.height.reach == 1 and 2 <= packing.height.taps <= 9
