"""How depthwise is launched: its config, which problems it can solve, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from math import gcd
from typing import NamedTuple

import triton
from tunedb.kernels.depthwise.jit import depthwise
from tunedb.kernels.depthwise.weights import tap_major
from tunedb.kernels.shared import window
from tunedb.kernels.shared.geometry import Axis, axes, problem_constants, residue_lengths
from tunedb.kernels.shared.limits import shape_flaw

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem

UNROLL_LIMIT = 128  # unrolled taps: the code of more is larger than the instruction cache
SUMS_LIMIT = (
    768  # unrolled multiply-adds of a thread: code with more takes long to compile and was never the fastest
)
REGISTER_LIMIT = 144  # of a thread's 255; window.registers, which estimates them, leaves out addresses


class Config(NamedTuple):
    """A thread owns PATCHES patches, each BLOCK_R rows by COLS neighbouring columns of each residue.

    In channels_last its patches are of neighbouring channels, which one vector loads; in channels_first they are a warp's width
    apart. A program is num_warps warps. It has BLOCK_C channels; what threads remain lie along the width.
    """

    BLOCK_R: int
    COLS: int
    PATCHES: int
    BLOCK_C: int
    COMPENSATED: int  # 1: sums carry their rounding error along (shared/compensated_sum.py)
    num_warps: int


class Tables(NamedTuple):
    """What the kernel knows at compile time beside the problem and the config."""

    rows: window.Rows
    columns: window.Columns
    rolled: int  # whether a loop goes over the taps of height, which otherwise are unrolled
    lanes: int  # threads along the width


def is_rolled(problem: Problem) -> bool:
    """Return whether height has too many taps or residues to be unrolled."""
    _, height, width = axes(problem)
    return height.taps * width.taps > UNROLL_LIMIT or height.residues * width.residues > 64


def unrolling_flaw(problem: Problem) -> str:
    width = axes(problem)[2]
    if width.taps > UNROLL_LIMIT or width.residues > 64:
        return f"depthwise unrolls at most {UNROLL_LIMIT} taps and 64 residues of a row, but has {width.taps} and {width.residues}"
    return ""


def tables_of(problem: Problem, config: Config) -> tuple[window.Rows, window.Columns]:
    _, height, width = axes(problem)
    one = Axis(1, 1, 1, 1, 1, 1, 0, 1, 0, 0)
    last = problem.layout == "channels_last"
    widest = (
        1 if last else gcd(16 // ITEM_BYTES[problem.dtype], problem.in_w)
    )  # columns: every row is aligned to so many
    rows = window.rows(one, 1) if is_rolled(problem) else window.rows(height, config.BLOCK_R)
    return rows, window.columns(width, config.COLS, widest)


def lanes_of(config: Config) -> int:
    """Return how many threads lie along the width."""
    return 32 * config.num_warps * config.PATCHES // config.BLOCK_C


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    if problem.c_in != problem.groups:
        return f"depthwise needs one input channel a group, but {problem.c_in} channels are in {problem.groups} groups"
    if flaw := shape_flaw(config, {"COMPENSATED": (0, 1)}) or unrolling_flaw(problem):
        return flaw
    if config.PATCHES * ITEM_BYTES[problem.dtype] > 16:
        return (
            f"the PATCHES of a thread must be 16 bytes at most, but are {config.PATCHES} of {problem.dtype}"
        )
    if is_rolled(problem) and config.BLOCK_R > 1:
        return f"where the rows' taps are a loop BLOCK_R must be 1, but is {config.BLOCK_R}"
    lanes = lanes_of(config)
    if lanes < 1:
        return f"BLOCK_C must be at most {32 * config.num_warps * config.PATCHES}, the channels of all threads, but is {config.BLOCK_C}"
    if 2 * max(8, triton.next_power_of_2(problem.c_out)) < config.BLOCK_C:
        return f"BLOCK_C {config.BLOCK_C} is more than twice the {problem.c_out} channels"
    len_w = residue_lengths(problem, axes(problem))[2]
    if lanes > 32 and (lanes // 2) * config.COLS >= len_w:
        return f"{lanes} threads of {config.COLS} columns are more than twice the width {len_w}"
    _, height, width = axes(problem)
    sums = config.BLOCK_R * config.COLS * max(8, width.taps * (1 if is_rolled(problem) else height.taps))
    if sums > SUMS_LIMIT:
        return f"at most {SUMS_LIMIT} multiply-adds can be unrolled, but a thread has {sums}"
    tables = tables_of(problem, config)
    need = window.registers(*tables) + config.COMPENSATED * len(tables[0].taps) * len(tables[1].taps)
    need *= config.PATCHES
    if need > REGISTER_LIMIT and config[:3] != (1, 1, 1):
        return f"a thread must keep at most {REGISTER_LIMIT} numbers, but keeps {need}"
    return launch_flaw(problem, _grid(problem, config))


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    depth, height, width = problem.out_extents
    rows, columns = tables_of(problem, config)
    tiles = (
        problem.n
        * depth
        * -(-height // len(rows.taps))
        * -(-width // (lanes_of(config) * len(columns.taps)))
        * -(-problem.c_out // config.BLOCK_C)
    )
    return (max(1, tiles), 1, 1)


def signature(problem: Problem, config: Config) -> Signature:
    rows, columns = tables_of(problem, config)
    constexprs = {
        "PROBLEM": problem_constants(problem, axes(problem)),
        "CONFIG": config,
        "TABLES": Tables(rows, columns, int(is_rolled(problem)), lanes_of(config)),
    }
    return convolution_arguments(problem).signature(
        depthwise, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(problem, launcher(signature(problem, config)), tap_major(problem))
