"""Which configs of shared_rows are worth trying, which first, and what they cost."""

import itertools
from math import prod

from tunedb.kernels.shared.packing import packing_of
from tunedb.kernels.shared_rows.launch import Config, units_of, valid
from tunedb.kernels.shared_rows.shape import dense, position_extents, shape_of, wide

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem

# The time model (tunedb/tune/predict.py) holds this kernel for too fast there. Measured as sm_89 on an H200 (24 float32 problems
# of kernelbench, 2026-11-21), the model's favourite took 1.28 times the best with shared_rows in the search, and 1.17 without.
UNRANKED_ON = (80, 86, 89)

MANY = 2**16  # outputs of a channel: enough large tiles for every SM


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
            config = Config(unit, 1, 1, 1, 1, 0, 64, block_n, size // ITEM_BYTES[problem.dtype], 4)
            if not valid(problem, config, device):
                return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return what was fastest for some problem: many sums for what is loaded, or small tiles that share an SM."""
    packing = packing_of(problem)
    if packing is None or default(problem, device) is None:
        return []
    c_out, item = problem.c_out // problem.groups, ITEM_BYTES[problem.dtype]
    stack, unit = int(max(space(problem, device)["STACK"])), units_of(device)[0]
    high = packing.height.taps + stack - 1
    found = []
    for lines, tall, tiles, resident, block_m, block_n, size, warps in (
        (2, 1, 1, 0, 64, 256, 32, 8),
        (2, 1, 4, 0, 64, 256, 32, 8),
        (2, 1, 4, 0, 64, 128, 32, 4),
        (1, 0, 1, 0, 64, 256, 64, 8),
        (1, 0, 4, 0, 64, 256, 64, 8),
        (3, 0, 4, 0, 64, 128, 32, 4),
        (2, 1, 1, 0, 64, 128, 32, 8),
        (2, 0, 4, 0, 64, 256, 64, 8),
        (1, 1, 4, 1, 64, 256, 32, 8),
        (1, 0, 16, 1, 64, 128, 64, 8),
        (2, 1, 4, 0, 128, 128, 32, 8),
        (3, 0, 1, 0, 128, 128, 64, 8),
        (1, 0, 4, 0, 128, 128, 64, 4),
        (1, 1, 16, 1, 128, 128, 64, 8),
        (1, 1, 4, 0, 128, 256, 32, 8),
        (1, 1, 4, 1, 128, 256, 32, 8),
        (1, 1, 4, 1, 64, 128, 128, 4),
    ):
        if (block_m == 128) == (c_out * wide(packing) > 64):
            config = Config(unit, stack, lines, high if tall else 1, tiles, resident, block_m, block_n, size // item, warps)  # fmt: skip
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
