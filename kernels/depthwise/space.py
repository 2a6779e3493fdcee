"""Which configs of depthwise are worth trying, which first, and what they cost."""

import itertools
from math import gcd

from tunedb.kernels.depthwise.launch import Config, is_rolled, lanes_of, tables_of, unrolling_flaw, valid
from tunedb.kernels.shared.compensated_sum import worth_compensating
from tunedb.kernels.shared.geometry import axes, residue_lengths

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem

# Compensation costs time and lowers the error. A search without a GPU sees only the time, so it leaves it out.
UNPREDICTED = {"COMPENSATED": 0}


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    if problem.c_in != problem.groups or problem.groups == 1 or unrolling_flaw(problem):
        return {}
    _, len_h, len_w = residue_lengths(problem, axes(problem))
    last = problem.layout == "channels_last"
    widest = 16 // ITEM_BYTES[problem.dtype]
    channels = (8, 16, 32, 64, 128, 256, 512) if last else (1, 2, 4, 8, 16, 32)
    return {
        "BLOCK_R": (1,) if is_rolled(problem) else _upto((1, 2, 4, 8, 16), len_h),
        "COLS": _upto((1, 2, 4, 8), len_w),
        "PATCHES": tuple(size for size in (1, 2, 4, 8) if size <= widest) if last else (1, 2, 4),
        "BLOCK_C": _upto(channels, max(problem.c_out, 8)),
        "COMPENSATED": worth_compensating(problem),
        "num_warps": (1, 2, 4, 8),
    }


def _upto(sizes: tuple[int, ...], extent: int) -> tuple[int, ...]:
    """Return the sizes up to the first that covers an extent."""
    return tuple(size for size in sizes if size < 2 * extent)


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    most = int(dims["BLOCK_R"][-1]), int(dims["COLS"][-1])
    channels = [int(size) for size in dims["BLOCK_C"]]
    if problem.layout == "channels_last":
        channels.reverse()
        rows, cols, patches = 4, 4, 1 if problem.c_out % 2 else 2
    else:
        cols = gcd(
            problem.in_w, 4
        )  # where no vector of columns is aligned, patches of single columns that lie far apart are better
        rows, patches = 4, 1 if cols > 1 else 4
    smaller = (rows, cols, patches, 4), (2, cols, patches, 4), (1, cols, 1, 2), (1, 1, 1, 2), (1, 1, 1, 1)
    for (block_r, block_v, each, warps), block_c in itertools.product(smaller, channels):
        config = Config(
            BLOCK_R=min(block_r, most[0]),
            COLS=min(block_v, most[1]),
            PATCHES=each,
            BLOCK_C=block_c,
            COMPENSATED=0,
            num_warps=warps,
        )
        if not valid(problem, config, device):
            return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return compensated sums, where those of the default may be less exact than torch's."""
    first = default(problem, device)
    if first is None or 1 not in worth_compensating(problem):
        return []
    rows = dict.fromkeys((first.BLOCK_R, max(1, first.BLOCK_R // 2), 1))
    patches = dict.fromkeys((first.PATCHES, 1))
    kept = [first._replace(BLOCK_R=r, PATCHES=p, COMPENSATED=1) for r in rows for p in patches]
    return [config for config in kept if not valid(problem, config, device)]


def work(problem: Problem, config: Config) -> Work:
    item = ITEM_BYTES[problem.dtype]
    depth, height, width = axes(problem)
    rows, columns = tables_of(problem, config)
    outer, taps = -(-depth.taps // depth.hop), height.taps * width.taps
    if is_rolled(problem):
        outer, taps = outer * -(-height.taps // height.hop), width.taps
    threads = lanes_of(config) * config.BLOCK_C
    meetings = sum(map(len, rows.taps)) * sum(map(len, columns.taps))
    added = (
        4 * config.COMPENSATED * sum(map(len, rows.taps)) * len(columns.taps)
    )  # four additions for each row of products
    # Inputs that neighbouring threads share come from L1; a load costs a sector, 32 bytes, at least.
    columns_read = lanes_of(config) * config.COLS * width.step + width.taps
    row = max(32, columns_read * config.BLOCK_C * item)
    return Work(
        flops=2 * threads * outer * max(1, meetings + added),
        unit="fma",
        loaded=outer * (max(1, sum(map(len, rows.fresh))) * row + taps * max(32, config.BLOCK_C * item)),
        stored=item * threads * len(rows.taps) * len(columns.taps),
        k_steps=outer,
    )
