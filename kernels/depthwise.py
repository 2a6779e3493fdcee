"""Depthwise convolution: one input channel a group, so no matrix product, only a window of inputs that slides."""

import itertools
from collections.abc import Callable
from math import gcd
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels import window
from tunedb.kernels.bounds import shape_flaw
from tunedb.kernels.geometry import Axis, axes, constants, first_tap, phase_lengths
from tunedb.kernels.ptx import divisible_range
from tunedb.kernels.tiles import divisor, place
from tunedb.kernels.window import add_plane, store_row

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
    if flaw := shape_flaw(config, {}) or _flaw(problem):
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
    need = config.PATCHES * window.registers(*_tables(problem, config))
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
        config = Config(min(block_r, most[0]), min(block_v, most[1]), each, block_c, warps)
        if not valid(problem, config, device):
            return config
    return None


@triton.jit
def depthwise(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,  # noqa: ARG001 (the grid has counted the samples)
    C_IN: tl.constexpr, C_OUT: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ROLLED: tl.constexpr, IN_ALIGN: tl.constexpr, OUT_ALIGN: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    BLOCK_R: tl.constexpr, COLS: tl.constexpr, LANES: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """x: [n, C_IN, in_d, in_h, in_w] in either layout; w: [taps, C_OUT], C_OUT a multiple of C_IN."""
    HEIGHT: tl.constexpr = len(ROWS.taps)
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    NUM_C: tl.constexpr = (C_OUT + BLOCK_C - 1) // BLOCK_C
    # Axis of the columns and of the channels in a tile: memory's fastest axis comes last.
    W: tl.constexpr = 0 if CHANNELS_LAST else 1
    C: tl.constexpr = 1 if CHANNELS_LAST else 0
    in_w = in_w // IN_ALIGN * IN_ALIGN  # tells Triton how far rows are aligned
    out_w = out_w // OUT_ALIGN * OUT_ALIGN
    num_w = tl.cdiv(out_w, LANES * WIDTH)
    num_h = tl.cdiv(out_h, HEIGHT)
    # In the order of memory, so that neighbours in time share rows in L2.
    rest = tl.program_id(0)
    if CHANNELS_LAST:
        pid_c = rest % NUM_C
        rest = rest // NUM_C
    pid_w = rest % num_w
    rest = rest // num_w
    pid_h = rest % num_h
    rest = rest // num_h
    o_d = rest % out_d
    sample = rest // out_d
    if not CHANNELS_LAST:
        pid_c = sample % NUM_C
        sample = sample // NUM_C
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)

    c_out = pid_c * BLOCK_C + tl.arange(0, BLOCK_C)
    c_tile = place(c_out, C)
    c_ok = c_tile < C_OUT
    if C_OUT == C_IN:
        c_in = c_out
    else:
        c_in = (pid_c * BLOCK_C + divisible_range(BLOCK_C)) // (C_OUT // C_IN)
    j_w = pid_w * LANES + tl.arange(0, LANES)
    if LARGE:
        j_w = j_w.to(tl.int64)
    col = place(j_w * (COLS * AXIS_W.step), W)
    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    STRIDE_XS: tl.constexpr = C_IN if CHANNELS_LAST else 1  # between neighbours in width
    x_ptrs = x_ptr + sample.to(tl.int64) * C_IN * plane + (place(c_in * stride_xc, C) + col * STRIDE_XS)

    if CHANNELS_LAST:
        zero = tl.zeros((LANES, BLOCK_C), dtype=tl.float32)
        # Every thread loads its own channels' weights: a vector of channels would be handed out differently.
        c_tile += tl.zeros((LANES, BLOCK_C), dtype=tl.int32)
    else:
        zero = tl.zeros((BLOCK_C, LANES), dtype=tl.float32)
    if HAS_BIAS:
        zero += tl.load(b_ptr + c_tile, mask=c_ok, other=0.0).to(tl.float32)
    acc = ()
    for _ in tl.static_range(HEIGHT * WIDTH):
        acc += (zero,)

    k0_d, count_d, start_d = first_tap(o_d % AXIS_D.phases, AXIS_D)
    i_d = start_d + o_d // AXIS_D.phases * AXIS_D.step
    if ROLLED:  # a program has one row, whose taps are those of a phase
        k0_h, count_h, start_h = first_tap(pid_h % AXIS_H.phases, AXIS_H)
        i_h = start_h + pid_h // AXIS_H.phases * AXIS_H.step
    else:  # ROWS names all its taps
        k0_h, count_h = 0, 1
        i_h = pid_h * (BLOCK_R * AXIS_H.step)
    TAPS: tl.constexpr = (1 if ROLLED else AXIS_H.taps) * AXIS_W.taps
    if ROLLED or AXIS_D.taps > 1 or AXIS_D.phases > 1:
        taps_h = divisor(count_h)
        for tap in range(count_d * count_h):
            t_d = tap // taps_h
            t_h = tap % taps_h
            k = (k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop
            acc = add_plane(
                acc, x_ptrs, w_ptr + k * AXIS_W.taps * C_OUT, c_tile, c_ok, col, i_d + t_d * AXIS_D.reach,
                i_h + t_h * AXIS_H.reach, in_d, in_h, in_w, STRIDE_XS, C_OUT, TAPS, ROWS, COLUMNS,
            )  # fmt: skip
    else:
        acc = add_plane(
            acc, x_ptrs, w_ptr, c_tile, c_ok, col, i_d, i_h, in_d, in_h, in_w,
            STRIDE_XS, C_OUT, TAPS, ROWS, COLUMNS,
        )  # fmt: skip

    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    STRIDE_YS: tl.constexpr = C_OUT if CHANNELS_LAST else 1
    o_w = place(j_w * WIDTH, W)
    y_ptrs = y_ptr + sample.to(tl.int64) * C_OUT * out_plane + (c_tile * stride_yc + o_w * STRIDE_YS)
    for r in tl.static_range(HEIGHT):
        o_h = pid_h * HEIGHT + r
        ok = c_ok & (o_h < out_h)
        store_row(y_ptrs + (o_d * out_h + o_h) * out_w * STRIDE_YS, o_w, ok, out_w, acc, r, STRIDE_YS, WIDTH)


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
    # L1 keeps what neighbouring threads both load; sectors cost 32 bytes.
    columns_read = _lanes(config) * config.COLS * width.step + width.taps
    row = max(32, columns_read * config.BLOCK_C * item)
    return Work(
        flops=2 * threads * outer * max(1, meetings),
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
