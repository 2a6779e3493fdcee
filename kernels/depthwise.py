"""Depthwise convolution: one input channel a group, so no matrix product, only shifted multiply-adds."""

from collections.abc import Callable
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.geometry import axes, constants, first_tap, inside, phase_lengths, phases, shape_flaw
from tunedb.kernels.ptx import divisible_range
from tunedb.kernels.tiles import (
    columns,
    divisor,
    outer_and_inner,
    phase_length,
    place,
    rows,
    split_phase,
)

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import tap_major

OPS = ALL_OPS
UNROLL_LIMIT = 128  # taps: more make the code larger than the instruction cache


class Config(NamedTuple):
    """A tile is BLOCK_R output rows by BLOCK_W columns by BLOCK_C channels."""

    PHASE: str  # where the phases go in the grid (tiles.outer_and_inner)
    UNROLL: int  # 1: the taps are unrolled, so that loads of neighbouring taps overlap
    BLOCK_R: int
    BLOCK_W: int
    BLOCK_C: int
    num_warps: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    if problem.c_in != problem.groups or problem.groups == 1:
        return {}
    geometry = axes(problem)
    reach = triton.next_power_of_2(phase_lengths(problem, geometry)[2])
    last = problem.layout == "channels_last"
    widths = (1, 2, 4, 8, 16, 32) if last else (16, 32, 64, 128, 256, 512, 1024)
    channels = (8, 16, 32, 64, 128, 256) if last else (1, 2, 4, 8)
    return {
        "PHASE": ("fast", "slow", "axis") if phases(geometry) > 1 else ("slow",),
        "UNROLL": (0, 1) if _unrolled_taps(problem) <= UNROLL_LIMIT else (0,),
        "BLOCK_R": (1, 2, 4, 8),
        "BLOCK_W": tuple(size for size in widths if size <= max(reach, widths[0])),
        "BLOCK_C": tuple(size for size in channels if size < 2 * max(problem.c_out, 5)),
        "num_warps": (1, 2, 4, 8),
    }


def _unrolled_taps(problem: Problem) -> int:
    taps = 1
    for axis in axes(problem):
        taps *= -(-axis.taps // axis.hop)
    return taps


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    if problem.c_in != problem.groups:
        return f"depthwise needs one input channel a group, but {problem.c_in} channels are in {problem.groups} groups"
    if flaw := shape_flaw(config, {"PHASE": ("fast", "slow", "axis"), "UNROLL": (0, 1)}):
        return flaw
    if config.UNROLL and _unrolled_taps(problem) > UNROLL_LIMIT:
        return f"at most {UNROLL_LIMIT} taps can be unrolled, but a phase has {_unrolled_taps(problem)}"
    outputs = config.BLOCK_R * config.BLOCK_W * config.BLOCK_C
    if not 32 * config.num_warps <= outputs <= 32 * 32 * config.num_warps:
        return f"a thread must own 1 to 32 outputs, but {config.num_warps} warps share {outputs}"
    if 2 * max(8, triton.next_power_of_2(problem.c_out)) < config.BLOCK_C:
        return f"BLOCK_C {config.BLOCK_C} is more than twice the {problem.c_out} channels"
    return launch_flaw(problem, _grid(problem, config))


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    widths = [int(size) for size in dims["BLOCK_W"]]
    last = problem.layout == "channels_last"
    block_w = min(8 if last else 256, max(widths))
    block_c = min(64, triton.next_power_of_2(max(problem.c_out, 16))) if last else 1
    block_r = 1
    while block_r * block_w * block_c < 128:  # at least an output a thread of four warps
        block_r *= 2
    unroll = int(_unrolled_taps(problem) <= UNROLL_LIMIT)
    return Config(str(dims["PHASE"][0]), unroll, block_r, block_w, block_c, 4)


@triton.jit
def depthwise(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, C_OUT: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    PHASE: tl.constexpr, UNROLL: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """x: [n, C_IN, in_d, in_h, in_w] in either layout; w: [taps, C_OUT], C_OUT a multiple of C_IN."""
    PHASES: tl.constexpr = AXIS_D.phases * AXIS_H.phases * AXIS_W.phases
    NUM_C: tl.constexpr = (C_OUT + BLOCK_C - 1) // BLOCK_C
    # Axis of the positions and of the channels in a tile: memory's fastest axis comes last.
    M: tl.constexpr = 0 if CHANNELS_LAST else 1
    C: tl.constexpr = 1 if CHANNELS_LAST else 0
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    num_w = tl.cdiv(tl.cdiv(out_w, AXIS_W.phases), BLOCK_W)
    num_r = tl.cdiv(n * tl.cdiv(out_d, AXIS_D.phases) * tl.cdiv(out_h, AXIS_H.phases), BLOCK_R)
    phase, inner = outer_and_inner(PHASES, num_r * num_w * NUM_C, PHASE)
    # Channels go first where they are contiguous, columns where those are.
    if CHANNELS_LAST:
        pid_c = inner % NUM_C
        pid_m = inner // NUM_C
    else:
        pid_c = inner // num_w % NUM_C
        pid_m = inner // (num_w * NUM_C) * num_w + inner % num_w
    phase_d, phase_h, phase_w = split_phase(phase, AXIS_D, AXIS_H, AXIS_W)
    len_d = phase_length(out_d, phase_d, AXIS_D)
    len_h = phase_length(out_h, phase_h, AXIS_H)
    len_w = phase_length(out_w, phase_w, AXIS_W)
    sample, j_d, j_h, row_ok = rows(pid_m // num_w, n, len_d, len_h, BLOCK_R, BLOCK_W)
    j_w = columns(pid_m % num_w, BLOCK_R, BLOCK_W)  # [BLOCK_M]
    m_ok = row_ok & (j_w < len_w)

    k0_d, count_d, start_d = first_tap(phase_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(phase_h, AXIS_H)
    k0_w, count_w, start_w = first_tap(phase_w, AXIS_W)
    same = tl.zeros_like(j_w)
    pos_d = start_d + j_d * AXIS_D.step + same  # [BLOCK_M]
    pos_h = start_h + j_h * AXIS_H.step + same
    pos_w = start_w + j_w * AXIS_W.step

    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    stride_xs: tl.constexpr = C_IN if CHANNELS_LAST else 1  # between neighbours in width
    c_out = pid_c * BLOCK_C + tl.arange(0, BLOCK_C)
    c_ok = c_out < C_OUT
    if C_OUT == C_IN:
        c_in = c_out
    else:
        c_in = (pid_c * BLOCK_C + divisible_range(BLOCK_C)) // (C_OUT // C_IN)
    x_ptrs = (
        x_ptr
        + (sample.to(tl.int64) * C_IN * plane + same)
        + ((pos_d * in_h + pos_h) * in_w + pos_w) * stride_xs
    )
    x_ptrs = place(x_ptrs, M) + place(c_in * stride_xc, C)
    tile_ok = place(m_ok, M) & place(c_ok, C)

    if CHANNELS_LAST:
        acc = tl.zeros((BLOCK_R * BLOCK_W, BLOCK_C), dtype=tl.float32)
    else:
        acc = tl.zeros((BLOCK_C, BLOCK_R * BLOCK_W), dtype=tl.float32)
    MOST_H: tl.constexpr = (AXIS_H.taps + AXIS_H.hop - 1) // AXIS_H.hop
    MOST_W: tl.constexpr = (AXIS_W.taps + AXIS_W.hop - 1) // AXIS_W.hop
    MOST: tl.constexpr = (AXIS_D.taps + AXIS_D.hop - 1) // AXIS_D.hop * MOST_H * MOST_W
    if UNROLL:
        for tap in tl.static_range(MOST):
            t_d = tap // (MOST_H * MOST_W)
            t_h = tap // MOST_W % MOST_H
            t_w = tap % MOST_W
            real = (t_d < count_d) & (t_h < count_h) & (t_w < count_w)
            acc = _tap(
                acc, t_d, t_h, t_w, real, x_ptrs, w_ptr, tile_ok, c_ok, c_out, pos_d, pos_h, pos_w, k0_d, k0_h, k0_w,
                in_d, in_h, in_w, stride_xs, C_OUT, M, C, AXIS_D, AXIS_H, AXIS_W,
            )  # fmt: skip
    else:
        taps_w = divisor(count_w)
        taps_h = divisor(count_h)
        for tap in range(count_d * count_h * count_w):
            t_d = tap // (taps_h * taps_w)
            t_h = tap // taps_w % taps_h
            t_w = tap % taps_w
            acc = _tap(
                acc, t_d, t_h, t_w, True, x_ptrs, w_ptr, tile_ok, c_ok, c_out, pos_d, pos_h, pos_w, k0_d, k0_h, k0_w,
                in_d, in_h, in_w, stride_xs, C_OUT, M, C, AXIS_D, AXIS_H, AXIS_W,
            )  # fmt: skip

    if HAS_BIAS:
        acc += place(tl.load(b_ptr + c_out, mask=c_ok, other=0.0).to(tl.float32), C)
    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    stride_ys: tl.constexpr = C_OUT if CHANNELS_LAST else 1
    o_d = phase_d + j_d * AXIS_D.phases
    o_h = phase_h + j_h * AXIS_H.phases
    o_w = phase_w + j_w * AXIS_W.phases
    y_ptrs = (
        y_ptr
        + (sample.to(tl.int64) * C_OUT * out_plane + same)
        + ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    )
    tl.store(place(y_ptrs, M) + place(c_out * stride_yc, C), acc.to(y_ptr.dtype.element_ty), mask=tile_ok)


@triton.jit
def _tap(
    acc, t_d, t_h, t_w, real, x_ptrs, w_ptr, tile_ok, c_ok, c_out, pos_d, pos_h, pos_w, k0_d, k0_h, k0_w,
    in_d, in_h, in_w, stride_xs, C_OUT: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
):  # fmt: skip
    """Add one tap to a tile; a tap that is not `real` in this phase adds nothing."""
    _, ok_d = inside(pos_d + t_d * AXIS_D.reach, in_d, AXIS_D)
    _, ok_h = inside(pos_h + t_h * AXIS_H.reach, in_h, AXIS_H)
    _, ok_w = inside(pos_w + t_w * AXIS_W.reach, in_w, AXIS_W)
    ok = tile_ok & real
    if AXIS_D.guard:
        ok = ok & place(ok_d, M)
    if AXIS_H.guard:
        ok = ok & place(ok_h, M)
    if AXIS_W.guard:
        ok = ok & place(ok_w, M)
    hop = ((t_d * AXIS_D.reach * in_h + t_h * AXIS_H.reach) * in_w + t_w * AXIS_W.reach) * stride_xs
    x = tl.load(x_ptrs + hop, mask=ok, other=0.0).to(tl.float32)
    k = (
        ((k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop) * AXIS_W.taps
        + k0_w
        + t_w * AXIS_W.hop
    )
    weight = tl.load(w_ptr + k * C_OUT + c_out, mask=c_ok & real, other=0.0).to(tl.float32)
    return acc + x * place(weight, C)


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    geometry = axes(problem)
    len_d, len_h, len_w = phase_lengths(problem, geometry)
    tiles = (
        -(-problem.n * len_d * len_h // config.BLOCK_R)
        * -(-len_w // config.BLOCK_W)
        * -(-problem.c_out // config.BLOCK_C)
    )
    return (tiles, 1, phases(geometry)) if config.PHASE == "axis" else (tiles * phases(geometry), 1, 1)


def work(problem: Problem, config: Config) -> Work:
    item = ITEM_BYTES[problem.dtype]
    geometry = axes(problem)
    taps = _unrolled_taps(problem)
    outputs = config.BLOCK_R * config.BLOCK_W * config.BLOCK_C
    # L1 keeps a row while its taps slide along it, so width taps cost one load; sectors cost 32 bytes.
    rows_read = max(1, taps // max(1, -(-geometry[2].taps // geometry[2].hop)))
    first = problem.layout == "channels_first"
    return Work(
        flops=2 * outputs * taps,
        unit="fma",
        loaded=rows_read * outputs * min(32, item * (geometry[2].step if first else 1))
        + taps * max(32, config.BLOCK_C * item),
        stored=outputs * min(32, item * (geometry[2].phases if first else 1)),
        k_steps=1 if config.UNROLL else taps,
    )


def signature(problem: Problem, config: Config) -> Signature:
    # Its channels are those of the whole tensors: every group has one.
    constexprs = {**constants(problem, axes(problem), config), "C_IN": problem.c_in, "C_OUT": problem.c_out}
    return convolution_arguments(problem).signature(
        depthwise, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(problem, launcher(signature(problem, config)), tap_major(problem))
