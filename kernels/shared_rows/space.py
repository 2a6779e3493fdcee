"""Which configs of shared_rows are worth trying, which first, and what they cost."""

import itertools
from math import prod
from typing import NamedTuple

from tunedb.kernels.shared.packing import packing_of
from tunedb.kernels.shared_rows.launch import Config, units_of, valid
from tunedb.kernels.shared_rows.shape import dense, position_extents, shape_of, wide

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem

MANY = 2**16  # outputs of a channel: enough large tiles for every SM


class Seed(NamedTuple):
    """A config without what depends on the problem."""

    lines: int
    all_heights: int  # 1: a step has all taps along the height, 0: one
    tiles: int
    resident: int
    block_m: int
    block_n: int
    bytes_k: int  # BLOCK_K in bytes
    num_warps: int


# lines, all_heights, tiles, resident, block_m, block_n, bytes_k, num_warps
SEEDS = (
    Seed(2, 1, 1, 0, 64, 256, 32, 8),
    Seed(2, 1, 4, 0, 64, 256, 32, 8),
    Seed(2, 1, 4, 0, 64, 128, 32, 4),
    Seed(1, 0, 1, 0, 64, 256, 64, 8),
    Seed(1, 0, 4, 0, 64, 256, 64, 8),
    Seed(3, 0, 4, 0, 64, 128, 32, 4),
    Seed(2, 1, 1, 0, 64, 128, 32, 8),
    Seed(2, 0, 4, 0, 64, 256, 64, 8),
    Seed(1, 1, 4, 1, 64, 256, 32, 8),
    Seed(1, 0, 16, 1, 64, 128, 64, 8),
    Seed(2, 1, 4, 0, 128, 128, 32, 8),
    Seed(3, 0, 1, 0, 128, 128, 64, 8),
    Seed(1, 0, 4, 0, 128, 128, 64, 4),
    Seed(1, 1, 16, 1, 128, 128, 64, 8),
    Seed(1, 1, 4, 0, 128, 256, 32, 8),
    Seed(1, 1, 4, 1, 128, 256, 32, 8),
    Seed(1, 1, 4, 1, 64, 128, 128, 4),
)


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    if default(problem, device) is None:
        return {}
    packing = packing_of(problem)
    assert packing is not None
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    item, rows = ITEM_BYTES[problem.dtype], position_extents(problem, packing)[1]
    columns = c_out * wide(packing)
    outputs = problem.n * prod(problem.out_extents)
    whole = 64 if device.wgmma else 16  # rows of the smallest product
    stacks = tuple(
        stack
        for stack in (1, 2, 4)
        if stack == 1 or (not packing.strided and dense(packing) and c_out * stack <= whole and stack <= rows)
    )
    sizes = [size // item for size in (32, 64, 128) if size // item >= (8 if device.wgmma else 16)]
    useful = 2 * c_in if c_in > 4 else 4 * packing.width.taps + 12
    return {
        "UNIT": units_of(device),
        "STACK": stacks,
        "LINES": tuple(lines for lines in (1, 2, 3) if lines <= rows),
        "HIGH": tuple(sorted({1} | {packing.height.taps + stack - 1 for stack in stacks if dense(packing)})),
        "TILES": (1, 4, 16),
        "RESIDENT": (0, 1),
        "BLOCK_M": tuple(
            size for size in (16, 32, 64, 128) if whole <= size < 2 * max(whole, columns * stacks[-1])
        ),
        "BLOCK_N": (128, 256) if outputs >= MANY else (64, 128, 256),
        "BLOCK_K": tuple(size for size in sizes if size == sizes[0] or size <= useful),
        "num_warps": (4, 8),
    }


def default(problem: Problem, device: Device) -> Config | None:
    for unit, block_n in itertools.product(units_of(device), (64, 128, 256)):
        for size in (64, 32):
            config = Config(
                UNIT=unit, STACK=1, LINES=1, HIGH=1, TILES=1, RESIDENT=0,
                BLOCK_M=64, BLOCK_N=block_n, BLOCK_K=size // ITEM_BYTES[problem.dtype], num_warps=4,
            )  # fmt: skip
            if not valid(problem, config, device):
                return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return the configs that were fastest for some problem: large tiles that reuse what they load, or small ones that share an SM."""
    packing = packing_of(problem)
    if packing is None or default(problem, device) is None:
        return []
    c_out, item = problem.c_out // problem.groups, ITEM_BYTES[problem.dtype]
    stack, unit = int(max(space(problem, device)["STACK"])), units_of(device)[0]
    high = packing.height.taps + stack - 1
    found = []
    for seed in SEEDS:
        if (seed.block_m == 128) == (c_out * wide(packing) > 64):
            config = Config(
                UNIT=unit,
                STACK=stack,
                LINES=seed.lines,
                HIGH=high if seed.all_heights else 1,
                TILES=seed.tiles,
                RESIDENT=seed.resident,
                BLOCK_M=seed.block_m,
                BLOCK_N=seed.block_n,
                BLOCK_K=seed.bytes_k // item,
                num_warps=seed.num_warps,
            )
            if not valid(problem, config, device):
                found.append(config)
    return list(dict.fromkeys(found))


def work(problem: Problem, config: Config) -> Work:
    packing = packing_of(problem)
    assert packing is not None
    item, shape = ITEM_BYTES[problem.dtype], shape_of(problem, packing, config)
    outputs = config.LINES * config.BLOCK_M * config.BLOCK_N
    steps = shape.steps * config.TILES
    weights = shape.taps * config.BLOCK_M * (shape.steps if config.RESIDENT else steps)
    return Work(
        flops=2 * outputs * shape.taps * config.BLOCK_K * steps,
        unit="tensor",
        loaded=config.BLOCK_K * (shape.read * config.BLOCK_N * steps + weights) * item,
        stored=outputs * config.TILES * item,
        k_steps=steps * shape.taps,
    )
