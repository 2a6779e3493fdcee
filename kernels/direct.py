"""Direct convolution without a matrix unit: one program owns a stretch of one output row for a few channels.

For few channels, where a matrix tile would mostly multiply padding. Depth and height taps follow from the
row itself, so only width needs phases or masks. Products and sums are IEEE float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.geometry import Axis, axes, constants, first_tap, inside, shape_flaw
from tunedb.kernels.tiles import divisor, phase_length, place

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import k_major

OPS = ALL_OPS


class Config(NamedTuple):
    """A program owns BLOCK_W outputs of a row (of one width phase) by BLOCK_N output channels."""

    PHASE: str  # width phases: "fast" or "slow" in the grid; "mask": none, all taps masked by divisibility
    ORDER: str  # "rows": rows and channels on grid axis 0, columns on axis 1; "columns": columns go first, one axis
    BLOCK_W: int
    BLOCK_N: int
    num_warps: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if c_in * c_out > 32 * 64 or (c_in == 1 and problem.groups > 1):
        return {}  # a matrix unit is 5 to 16 times as fast there; depthwise has its own kernel
    strided = problem.transposed and problem.stride_w > 1
    length = -(-problem.out_extents[2] // (problem.stride_w if problem.transposed else 1))
    reach = min(1024, max(32, triton.next_power_of_2(length)))
    return {
        "PHASE": ("fast", "slow", "mask") if strided else ("slow",),
        "ORDER": ("rows", "columns"),
        "BLOCK_W": tuple(size for size in (32, 64, 128, 256, 512, 1024) if size <= reach),
        "BLOCK_N": tuple(size for size in (1, 2, 4, 8, 16, 32) if size < 2 * c_out),
        "num_warps": (1, 2, 4, 8),
    }


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    names = {"PHASE": ("fast", "slow", "mask"), "ORDER": ("rows", "columns")}
    if flaw := shape_flaw(config, names):
        return flaw
    outputs = config.BLOCK_W * config.BLOCK_N
    if not 32 * config.num_warps <= outputs <= 64 * 32 * config.num_warps:
        return f"a thread must own 1 to 64 outputs, but {config.num_warps} warps share {outputs}"
    return launch_flaw(problem, _grid(problem, config))


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    block_w = min(256, max(int(size) for size in dims["BLOCK_W"]))
    block_n = min(8, max(int(size) for size in dims["BLOCK_N"]))
    return Config(str(dims["PHASE"][0]), "columns", block_w, block_n, max(1, min(4, block_w * block_n // 32)))


@triton.jit
def direct(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, GROUPS: tl.constexpr, ROW: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    PHASE: tl.constexpr, ORDER: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """x: [n, GROUPS * C_IN, in_d, in_h, in_w] in either layout; w: [GROUPS * C_OUT, ROW], see weights.k_major."""
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    if ORDER == "rows":
        pid_w = tl.program_id(1)
        rest = tl.program_id(0)
    else:
        num_w = tl.cdiv(tl.cdiv(out_w, AXIS_W.phases), BLOCK_W)
        pid_w = tl.program_id(0) % num_w
        rest = tl.program_id(0) // num_w
    if AXIS_W.phases == 1:
        phase_w = 0
    elif PHASE == "fast":
        phase_w = rest % AXIS_W.phases
        rest = rest // AXIS_W.phases
    else:
        inner = n * out_d * out_h * (NUM_N * GROUPS)
        phase_w = rest // inner
        rest = rest % inner
    pid_n = rest % NUM_N
    group = rest // NUM_N % GROUPS
    row = rest // (NUM_N * GROUPS)
    o_h = row % out_h
    o_d = row // out_h % out_d
    sample = row // out_h // out_d

    k0_d, count_d, start_d = first_tap(o_d % AXIS_D.phases, AXIS_D)
    k0_h, count_h, start_h = first_tap(o_h % AXIS_H.phases, AXIS_H)
    k0_w, count_w, start_w = first_tap(phase_w, AXIS_W)
    pos_d = start_d + o_d // AXIS_D.phases * AXIS_D.step  # scalar
    pos_h = start_h + o_h // AXIS_H.phases * AXIS_H.step
    j_w = pid_w * BLOCK_W + tl.arange(0, BLOCK_W)
    w_ok = j_w < phase_length(out_w, phase_w, AXIS_W)
    pos_w = start_w + j_w * AXIS_W.step

    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    stride_xs: tl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1  # between neighbours in width
    x_base = x_ptr + sample.to(tl.int64) * (GROUPS * C_IN) * plane + group * C_IN * stride_xc
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT
    w_ptrs = w_ptr + (group * C_OUT + offs_n) * ROW  # [BLOCK_N]

    acc = tl.zeros((BLOCK_N, BLOCK_W), dtype=tl.float32)
    taps_w = divisor(count_w)
    taps_h = divisor(count_h)
    for tap in range(count_d * count_h * count_w):
        t_w = tap % taps_w
        t_h = tap // taps_w % taps_h
        t_d = tap // (taps_w * taps_h)
        d = pos_d + t_d * AXIS_D.reach  # scalar
        h = pos_h + t_h * AXIS_H.reach
        w, ok = inside(pos_w + t_w * AXIS_W.reach, in_w, AXIS_W)
        ok = ok & w_ok & (d >= 0) & (d < in_d) & (h >= 0) & (h < in_h)
        k = (
            ((k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop) * AXIS_W.taps
            + k0_w
            + t_w * AXIS_W.hop
        )
        x_ptrs = x_base + ((d * in_h + h) * in_w + w) * stride_xs
        # A sum of its own for each tap: rounding grows with the length of a sum, and torch sums in blocks too.
        part = tl.zeros((BLOCK_N, BLOCK_W), dtype=tl.float32)
        for channel in range(C_IN):
            x = tl.load(x_ptrs + channel * stride_xc, mask=ok, other=0.0).to(tl.float32)
            weight = tl.load(w_ptrs + k * C_IN + channel, mask=n_ok, other=0.0).to(tl.float32)
            part += place(weight, 0) * place(x, 1)
        acc += part

    c_out = group * C_OUT + offs_n
    if HAS_BIAS:
        acc += place(tl.load(b_ptr + c_out, mask=n_ok, other=0.0).to(tl.float32), 0)
    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    stride_ys: tl.constexpr = GROUPS * C_OUT if CHANNELS_LAST else 1
    o_w = phase_w + j_w * AXIS_W.phases
    y_ptrs = (
        y_ptr
        + sample.to(tl.int64) * (GROUPS * C_OUT) * out_plane
        + ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    )
    tl.store(
        place(y_ptrs, 1) + place(c_out * stride_yc, 0),
        acc.to(y_ptr.dtype.element_ty),
        mask=place(n_ok, 0) & place(w_ok, 1),
    )


def _geometry(problem: Problem, config: Config) -> tuple[Axis, Axis, Axis]:
    depth, height, width = axes(problem)
    return depth, height, axes(problem, masked=True)[2] if config.PHASE == "mask" else width


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    width = _geometry(problem, config)[2]
    out_d, out_h, out_w = problem.out_extents
    longest = -(-out_w // width.phases)
    num_w = -(-longest // config.BLOCK_W)
    num_n = -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    rest = problem.n * out_d * out_h * num_n * problem.groups * width.phases
    return (rest, num_w, 1) if config.ORDER == "rows" else (rest * num_w, 1, 1)


def work(problem: Problem, config: Config) -> Work:
    width = _geometry(problem, config)[2]
    item = ITEM_BYTES[problem.dtype]
    # Depth and height taps are the row's own; width tries all taps or those of its phase.
    taps = problem.k_d * problem.k_h * width.taps / width.hop
    if problem.transposed:
        taps /= problem.stride_d * problem.stride_h
    loads = max(1.0, taps) * (problem.c_in // problem.groups)
    spread = problem.c_in if problem.layout == "channels_last" else 1
    sectors = config.BLOCK_W * min(32, item * spread * (width.step if width.divisor == 1 else 1))
    gaps = problem.c_out if problem.layout == "channels_last" else width.phases
    return Work(
        flops=int(2 * loads * config.BLOCK_W * config.BLOCK_N),
        unit="fma",
        loaded=int(loads * (sectors + config.BLOCK_N * 32)),
        stored=config.BLOCK_W * config.BLOCK_N * min(32, item * gaps),
        k_steps=int(loads),
    )


def signature(problem: Problem, config: Config) -> Signature:
    constexprs = constants(problem, _geometry(problem, config), config)
    return convolution_arguments(problem).signature(
        direct, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(problem, launcher(signature(problem, config)), k_major(problem, rounded=False))
