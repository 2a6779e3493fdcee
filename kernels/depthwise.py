"""Depthwise convolution: one input channel a group, so no matrix product, only a window of inputs that slides."""

import itertools
from collections.abc import Callable
from math import gcd
from typing import NamedTuple

import triton
from tunedb.kernels import window
from tunedb.kernels.bounds import shape_flaw
from tunedb.kernels.depthwise_jit import depthwise
from tunedb.kernels.geometry import Axis, axes, constants, phase_lengths
from tunedb.kernels.sums import worth_compensating

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import tap_major

OPS = ALL_OPS
UNROLL_LIMIT = 128  # taps in a row of the code: more are larger than the instruction cache
SUMS_LIMIT = 768  # multiply-adds in the code: more take long to compile and never won
REGISTER_LIMIT = 144  # of a thread's 255, by an estimate that leaves out addresses


class Config(NamedTuple):
    """A thread owns PATCHES patches of BLOCK_R rows by COLS neighbouring columns of each phase.

    Its patches are of neighbouring channels in channels_last, where they make one vector, and a warp's width
    apart in channels_first. A program is num_warps warps: BLOCK_C channels, the rest along the width.
    """

    BLOCK_R: int
    COLS: int
    PATCHES: int
    BLOCK_C: int
    COMPENSATED: int  # whether sums keep the low bits that they would lose
    num_warps: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    if problem.c_in != problem.groups or problem.groups == 1 or _flaw(problem):
        return {}
    _, len_h, len_w = phase_lengths(problem, axes(problem))
    last = problem.layout == "channels_last"
    widest = 16 // ITEM_BYTES[problem.dtype]
    channels = (8, 16, 32, 64, 128, 256, 512) if last else (1, 2, 4, 8, 16, 32)
    return {
        "BLOCK_R": (1,) if _rolled(problem) else _upto((1, 2, 4, 8, 16), len_h),
        "COLS": _upto((1, 2, 4, 8), len_w),
        "PATCHES": tuple(size for size in (1, 2, 4, 8) if size <= widest) if last else (1, 2, 4),
        "BLOCK_C": _upto(channels, max(problem.c_out, 8)),
        "COMPENSATED": worth_compensating(problem),
        "num_warps": (1, 2, 4, 8),
    }


def _upto(sizes: tuple[int, ...], extent: int) -> tuple[int, ...]:
    """Return the sizes up to the first that covers an extent."""
    return tuple(size for size in sizes if size < 2 * extent)


def _rolled(problem: Problem) -> bool:
    """Return whether height has too many taps or phases to be unrolled."""
    _, height, width = axes(problem)
    return height.taps * width.taps > UNROLL_LIMIT or height.phases * width.phases > 64


def _flaw(problem: Problem) -> str:
    width = axes(problem)[2]
    if width.taps > UNROLL_LIMIT or width.phases > 64:
        return f"depthwise unrolls at most {UNROLL_LIMIT} taps and 64 phases of a row, but has {width.taps} and {width.phases}"
    return ""


def _tables(problem: Problem, config: Config) -> tuple[window.Rows, window.Columns]:
    _, height, width = axes(problem)
    one = Axis(1, 1, 1, 1, 1, 1, 0, 1, 0, 0)
    last = problem.layout == "channels_last"
    widest = 1 if last else gcd(16 // ITEM_BYTES[problem.dtype], problem.in_w)  # what every row is aligned to
    rows = window.rows(one, 1) if _rolled(problem) else window.rows(height, config.BLOCK_R)
    return rows, window.columns(width, config.COLS, widest)


def _lanes(config: Config) -> int:
    """Return how many threads lie along the width."""
    return 32 * config.num_warps * config.PATCHES // config.BLOCK_C


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    if problem.c_in != problem.groups:
        return f"depthwise needs one input channel a group, but {problem.c_in} channels are in {problem.groups} groups"
    if flaw := shape_flaw(config, {"COMPENSATED": (0, 1)}) or _flaw(problem):
        return flaw
    if config.PATCHES * ITEM_BYTES[problem.dtype] > 16:
        return (
            f"the PATCHES of a thread must be 16 bytes at most, but are {config.PATCHES} of {problem.dtype}"
        )
    if _rolled(problem) and config.BLOCK_R > 1:
        return f"where the rows' taps are a loop BLOCK_R must be 1, but is {config.BLOCK_R}"
    lanes = _lanes(config)
    if lanes < 1:
        return f"BLOCK_C must be at most {32 * config.num_warps * config.PATCHES}, the channels of all threads, but is {config.BLOCK_C}"
    if 2 * max(8, triton.next_power_of_2(problem.c_out)) < config.BLOCK_C:
        return f"BLOCK_C {config.BLOCK_C} is more than twice the {problem.c_out} channels"
    len_w = phase_lengths(problem, axes(problem))[2]
    if lanes > 32 and (lanes // 2) * config.COLS >= len_w:
        return f"{lanes} threads of {config.COLS} columns are more than twice the width {len_w}"
    _, height, width = axes(problem)
    sums = config.BLOCK_R * config.COLS * max(8, width.taps * (1 if _rolled(problem) else height.taps))
    if sums > SUMS_LIMIT:
        return f"at most {SUMS_LIMIT} multiply-adds can be unrolled, but a thread has {sums}"
    tables = _tables(problem, config)
    need = window.registers(*tables) + config.COMPENSATED * len(tables[0].taps) * len(tables[1].taps)
    need *= config.PATCHES
    if need > REGISTER_LIMIT and config[:3] != (1, 1, 1):
        return f"a thread must keep at most {REGISTER_LIMIT} numbers, but keeps {need}"
    return launch_flaw(problem, _grid(problem, config))


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
        cols = gcd(problem.in_w, 4)  # as many as a vector holds; single columns are better far apart
        rows, patches = 4, 1 if cols > 1 else 4
    smaller = (rows, cols, patches, 4), (2, cols, patches, 4), (1, cols, 1, 2), (1, 1, 1, 2), (1, 1, 1, 1)
    for (block_r, block_v, each, warps), block_c in itertools.product(smaller, channels):
        config = Config(min(block_r, most[0]), min(block_v, most[1]), each, block_c, 0, warps)
        if not valid(problem, config, device):
            return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return sums that are as near to float64 as torch's, where those of the default may not be."""
    first = default(problem, device)
    if first is None or 1 not in worth_compensating(problem):
        return []
    rows = dict.fromkeys((first.BLOCK_R, max(1, first.BLOCK_R // 2), 1))
    patches = dict.fromkeys((first.PATCHES, 1))
    kept = [first._replace(BLOCK_R=r, PATCHES=p, COMPENSATED=1) for r in rows for p in patches]
    return [config for config in kept if not valid(problem, config, device)]


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    depth, height, width = problem.out_extents
    rows, columns = _tables(problem, config)
    tiles = (
        problem.n
        * depth
        * -(-height // len(rows.taps))
        * -(-width // (_lanes(config) * len(columns.taps)))
        * -(-problem.c_out // config.BLOCK_C)
    )
    return (max(1, tiles), 1, 1)


def work(problem: Problem, config: Config) -> Work:
    item = ITEM_BYTES[problem.dtype]
    depth, height, width = axes(problem)
    rows, columns = _tables(problem, config)
    outer, taps = -(-depth.taps // depth.hop), height.taps * width.taps
    if _rolled(problem):
        outer, taps = outer * -(-height.taps // height.hop), width.taps
    threads = _lanes(config) * config.BLOCK_C
    meetings = sum(map(len, rows.taps)) * sum(map(len, columns.taps))
    added = (
        4 * config.COMPENSATED * sum(map(len, rows.taps)) * len(columns.taps)
    )  # four for a row of products
    # L1 keeps what neighbouring threads both load; sectors cost 32 bytes.
    columns_read = _lanes(config) * config.COLS * width.step + width.taps
    row = max(32, columns_read * config.BLOCK_C * item)
    return Work(
        flops=2 * threads * outer * max(1, meetings + added),
        unit="fma",
        loaded=outer * (max(1, sum(map(len, rows.fresh))) * row + taps * max(32, config.BLOCK_C * item)),
        stored=item * threads * len(rows.taps) * len(columns.taps),
        k_steps=outer,
    )


def signature(problem: Problem, config: Config) -> Signature:
    rows, columns = _tables(problem, config)
    constexprs = {
        **constants(problem, axes(problem), config),
        # Its channels are those of the whole tensors: every group has one.
        "C_IN": problem.c_in,
        "C_OUT": problem.c_out,
        "ROWS": rows,
        "COLUMNS": columns,
        "ROLLED": int(_rolled(problem)),
        "LANES": _lanes(config),
        "IN_ALIGN": gcd(problem.in_w, 16),
        "OUT_ALIGN": gcd(problem.out_extents[2], 16),
    }
    return convolution_arguments(problem).signature(
        depthwise, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(problem, launcher(signature(problem, config)), tap_major(problem))
