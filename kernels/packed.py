"""Convolution as a matrix product over a packed input, in which every window is a few contiguous runs.

The input is rewritten once (kernels/repack.py): border zeros in place, channels innermost and padded, float32 rounded
to TF32. Loads of the product then need no mask and no address arithmetic but one addition, whatever the padding, the
number of input channels or the layout. It pays where the product is much dearer than one pass over the input.
"""

from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.geometry import is_large, shape_flaw
from tunedb.kernels.precision import dots, operand, worth_trying
from tunedb.kernels.repack import (
    ROW_ALIGN,
    Packing,
    packed_elements,
    packed_length,
    packed_strides,
    packing_of,
    repack_signature,
)
from tunedb.kernels.tiles import place, tile_order

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import window_major, window_row

if TYPE_CHECKING:
    from torch import Tensor

OPS = ALL_OPS
LARGEST = 1 << 33  # bytes of the packed input


class Config(NamedTuple):
    """A tile is BLOCK_M spans of SPAN neighbouring outputs by BLOCK_N of their SPAN * channels sums."""

    REPACK: int  # 0: the input already is as the product wants it, float32 rounded in the loop
    SPAN: int  # outputs along the inner axis that share a window; more columns for problems of few output channels
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    packing = packing_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if packing is None or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return {}
    side = packing[packing.inner]
    out = problem.out_extents[packing.inner]
    # Of a window for SPAN outputs only taps / (taps + SPAN - 1) is theirs: below a half it cannot pay.
    most = side.taps + 1 if side.reach == 1 else 1
    spans = tuple(span for span in (1, 2, 4, 8) if span <= min(most, out) and (span == 1 or span * c_out <= 256))
    return {
        "REPACK": (0, 1) if _ready(problem, packing) else (1,),
        "SPAN": spans,
        "ORDER": ("m", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_M": (64, 128, 256),
        # Narrower tiles than the columns allow never won.
        "BLOCK_N": tuple(size for size in (16, 32, 64, 128, 256) if min(64, c_out) <= size < 2 * max(c_out * spans[-1], 9)),
        "BLOCK_K": (16, 32, 64),
        "DOT": worth_trying(problem),
        "num_warps": (4, 8),
        "num_stages": (2, 3, 4, 5),
    }


def valid(problem: Problem, config: Config, device: Device) -> str:
    packing = packing_of(problem)
    if packing is None:
        return "a transposed convolution must have stride 1"
    names = {"REPACK": (0, 1), "ORDER": ("m", "n", "swizzle"), "SWAP": (0, 1), "DOT": dots(problem)}
    if flaw := shape_flaw(config, names):
        return flaw
    side, out = packing[packing.inner], problem.out_extents[packing.inner]
    if config.SPAN > 1 and (side.reach > 1 or config.SPAN > min(16, config.BLOCK_N)):
        return f"SPAN must be 1 where the inner axis is dilated, and at most 16 and BLOCK_N, but is {config.SPAN}"
    if not config.REPACK and not (_ready(problem, packing) and out % config.SPAN == 0):
        return "without REPACK the input must be channels_last, without borders, of aligned channels, and SPAN divide the outputs"
    c_out = problem.c_out // problem.groups
    if config.BLOCK_N >= 2 * max(16, c_out * config.SPAN):
        return f"BLOCK_N {config.BLOCK_N} is twice the {c_out} channels of {config.SPAN} outputs"
    if not 16 <= config.BLOCK_M <= 512 or not 16 <= config.BLOCK_N <= 256 or not 16 <= config.BLOCK_K <= 256:
        return f"a tile must have 16 to 512 positions and 16 to 256 channels, but has {config.BLOCK_M}, {config.BLOCK_N} and {config.BLOCK_K}"
    run, _ = _runs(packing, config.SPAN)
    if 2 * max(16, run) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {run} elements of a run"
    threads = config.num_warps * 32
    most = 128 if problem.dtype != "float32" or config.DOT == "tf32" else 64
    if not 4 <= config.BLOCK_M * config.BLOCK_N // threads <= most:
        return f"a thread must own 4 to {most} outputs, but {config.num_warps} warps share {config.BLOCK_M} x {config.BLOCK_N}"
    if max(config.BLOCK_M, config.BLOCK_N) * config.BLOCK_K // threads > 64:
        return f"{config.num_warps} warps are too few to load tiles of {config.BLOCK_M} and {config.BLOCK_N} by {config.BLOCK_K}"
    stages = config.num_stages if device.capability >= 90 else max(config.num_stages - 1, 1)
    shared = stages * (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * ITEM_BYTES[problem.dtype]
    if shared > device.shared_block:
        return f"{config.num_stages} stages need {shared} bytes of shared memory, but a block has {device.shared_block}"
    if packed_elements(problem, packing, config.SPAN) * ITEM_BYTES[problem.dtype] > LARGEST:
        return f"the packed input must take at most {LARGEST >> 30} GiB"
    if packed_elements(problem, packing, config.SPAN) >= 2**31 * problem.n * problem.groups > 0:
        return "one sample of the packed input must have fewer than 2^31 elements"
    depth, height, width = problem.out_extents
    if problem.n * depth * height * width >= 2**31 - 4096:
        return "all outputs of a channel must be fewer than 2^31"
    repacking = repack_signature(problem, packing, config.SPAN, rounded=False).grid
    return launch_flaw(problem, _grid(problem, config)) or launch_flaw(problem, repacking)


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    packing = packing_of(problem)
    if not dims or packing is None:
        return None
    c_out = problem.c_out // problem.groups
    config = Config(
        REPACK=1,
        SPAN=1,
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        BLOCK_M=64,
        BLOCK_N=min(64, max(16, triton.next_power_of_2(c_out))),
        BLOCK_K=32 if _runs(packing, 1)[0] > 16 else 16,
        DOT=str(dims["DOT"][0]),
        num_warps=4,
        num_stages=3,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200, with as few stages as the device needs."""
    first, packing = default(problem, device), packing_of(problem)
    if first is None or packing is None:
        return []
    spans = [int(span) for span in space(problem, device)["SPAN"]]
    c_out = problem.c_out // problem.groups
    wide = max((span for span in spans if span * c_out <= 128), default=1)
    depth = min(64, max(16, triton.next_power_of_2(_runs(packing, 1)[0])))
    if problem.dtype == "float32":
        tiles = ((wide, 0, 128, 128, 32, 8, 5), (wide, 0, 128, 128, 32, 8, 3), (wide, 1, 64, 128, 32, 4, 4), (1, 1, 256, 64, 32, 4, 3), (1, 0, 128, 64, 32, 4, 4))  # fmt: skip
    else:
        tiles = ((wide, 1, 128, 128, 32, 4, 4), (wide, 0, 128, 128, 64, 8, 4), (1, 0, 256, 64, 32, 4, 4), (1, 1, 128, 128, 64, 4, 3))  # fmt: skip
    found = []
    for span, swap, m, n, k, warps, stages in tiles:
        columns = max(16, triton.next_power_of_2(span * c_out))
        config = Config(1, span, "swizzle" if c_out > 16 else "m", swap, m, min(n, columns), min(k, depth), first.DOT, warps, stages)  # fmt: skip
        while config.num_stages > 2 and valid(problem, config, device):
            config = config._replace(num_stages=config.num_stages - 1)
        found.append(config)
    return found


def _ready(problem: Problem, packing: Packing) -> bool:
    """Return whether the input as it is has the layout that repacking would give, longer rows aside."""
    borders = any(side.lead for side in packing[:3]) or problem.transposed
    rows = (problem.in_d, problem.in_h, problem.in_w)[packing.inner] * problem.c_in % ROW_ALIGN == 0
    return (
        problem.layout == "channels_last"
        and packing.inner == 2
        and problem.groups == 1
        and packing.channels == problem.c_in
        and not borders
        and rows
    )


def _runs(packing: Packing, span: int) -> tuple[int, int]:
    """Return the elements of a contiguous run of a window of `span` outputs, and how many runs a window has."""
    side = packing[packing.inner]
    together = (span - 1) * side.step + side.taps if side.reach == 1 else 1
    taps = packing.depth.taps * packing.height.taps * packing.width.taps
    return together * packing.channels, taps // (side.taps if side.reach == 1 else 1)


@triton.jit
def packed(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_OUT: tl.constexpr, GROUPS: tl.constexpr,
    SIDE_D: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, INNER: tl.constexpr, CHANNELS: tl.constexpr,
    RUN: tl.constexpr, RUNS: tl.constexpr, WINDOW_ROW: tl.constexpr, WHOLE: tl.constexpr, EVEN_OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    REPACK: tl.constexpr, SPAN: tl.constexpr, ORDER: tl.constexpr, SWAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    DOT: tl.constexpr,
):  # fmt: skip
    """x: packed by repack; w: [GROUPS * C_OUT * SPAN, RUNS, WINDOW_ROW], see weights.window_major."""
    COLUMNS: tl.constexpr = C_OUT * SPAN
    NUM_N: tl.constexpr = (COLUMNS + BLOCK_N - 1) // BLOCK_N
    M: tl.constexpr = 1 if SWAP else 0
    C: tl.constexpr = 0 if SWAP else 1
    # Spans, each an element of the inner axis.
    num_d = tl.cdiv(out_d, SPAN) if INNER == 0 else out_d
    num_h = tl.cdiv(out_h, SPAN) if INNER == 1 else out_h
    num_w = tl.cdiv(out_w, SPAN) if INNER == 2 else out_w
    total = n * num_d * num_h * num_w
    pid_m, pid_n = tile_order(tl.program_id(0), tl.cdiv(total, BLOCK_M), NUM_N, ORDER)
    group = tl.program_id(2)
    # Beyond the end the last window is read again, which needs no mask; it is not stored.
    spot = tl.minimum(pid_m * BLOCK_M + tl.arange(0, BLOCK_M), total - 1)
    o_w = spot % num_w
    o_h = spot // num_w % num_h
    o_d = spot // (num_w * num_h) % num_d
    sample = spot // (num_w * num_h * num_d)
    if REPACK:
        len_d = packed_length(num_d * SPAN if INNER == 0 else num_d, SIDE_D)
        len_h = packed_length(num_h * SPAN if INNER == 1 else num_h, SIDE_H)
        len_w = packed_length(num_w * SPAN if INNER == 2 else num_w, SIDE_W)
    else:
        len_d = in_d
        len_h = in_h
        len_w = in_w
    stride_d, stride_h, stride_w, stride_n = packed_strides(len_d, len_h, len_w, INNER, CHANNELS)
    x_ptrs = x_ptr + (group.to(tl.int64) * n + sample) * stride_n  # [BLOCK_M]
    x_ptrs += o_d * (SIDE_D.step * (SPAN if INNER == 0 else 1) * stride_d)
    x_ptrs += o_h * (SIDE_H.step * (SPAN if INNER == 1 else 1) * stride_h)
    x_ptrs += o_w * (SIDE_W.step * (SPAN if INNER == 2 else 1) * stride_w)

    offs_k = tl.arange(0, BLOCK_K)
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = offs_n < COLUMNS
    w_ptrs = w_ptr + (group * COLUMNS + offs_n) * (RUNS * WINDOW_ROW)
    x_tile = place(x_ptrs, M) + place(offs_k, C)
    w_tile = place(w_ptrs, C) + place(offs_k, M)
    if SWAP:
        acc = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    else:
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    BLOCKS: tl.constexpr = (RUN + BLOCK_K - 1) // BLOCK_K
    for step in range(RUNS * BLOCKS):
        run = step // BLOCKS
        k = step % BLOCKS * BLOCK_K
        x_hop = run_offset(run, stride_d, stride_h, stride_w, SIDE_D, SIDE_H, SIDE_W, INNER) + k
        w_hop = run * WINDOW_ROW + k
        if RUN % BLOCK_K:
            k_ok = k + offs_k < RUN
            x = tl.load(x_tile + x_hop, mask=place(k_ok, C), other=0.0)
            weight = tl.load(w_tile + w_hop, mask=place(n_ok, C) & place(k_ok, M), other=0.0)
        else:
            x = tl.load(x_tile + x_hop)
            weight = tl.load(w_tile + w_hop, mask=place(n_ok, C), other=0.0)
        x = operand(x, "ieee" if REPACK else DOT)  # rounded when it was packed, as the weights were
        weight = operand(weight, "ieee")
        if SWAP:
            acc = tl.dot(weight, x, acc, input_precision=DOT)
        else:
            acc = tl.dot(x, weight, acc, input_precision=DOT)

    # Columns of a tile are (output of the span, channel) in channels_last, (channel, output of the span) in
    # channels_first: the order of memory in both.
    if CHANNELS_LAST:
        channel = offs_n % C_OUT
        along = offs_n // C_OUT
    else:
        channel = offs_n // SPAN
        along = offs_n % SPAN
    if HAS_BIAS:
        acc += place(tl.load(b_ptr + group * C_OUT + channel, mask=n_ok, other=0.0).to(tl.float32), C)
    plane = out_d * out_h * out_w // EVEN_OUT * EVEN_OUT
    if LARGE:
        plane = plane.to(tl.int64)
    if CHANNELS_LAST or SPAN == 1 or INNER != 2:
        _store_columns(
            y_ptr, acc, pid_m, total, num_d, num_h, num_w, group * C_OUT + channel, along, offs_n, n_ok,
            out_d, out_h, out_w, plane, GROUPS * C_OUT, C_OUT, WHOLE, CHANNELS_LAST, SPAN, INNER, BLOCK_M, M, C,
        )  # fmt: skip
    else:
        # The outputs of a span move beside each other before the store.
        if not SWAP:
            acc = tl.trans(acc)
        tile = tl.reshape(acc, (BLOCK_N // SPAN, SPAN, BLOCK_M))
        tile = tl.reshape(tl.permute(tile, (0, 2, 1)), (BLOCK_N // SPAN, BLOCK_M * SPAN))
        first = pid_n * (BLOCK_N // SPAN) + tl.arange(0, BLOCK_N // SPAN)
        output = pid_m * (BLOCK_M * SPAN) + tl.arange(0, BLOCK_M * SPAN)  # among all outputs of a channel, spans whole
        if WHOLE:
            y_ptrs = y_ptr + (output // plane).to(tl.int64) * (GROUPS * C_OUT) * plane + output % plane
            ok = output < total * SPAN
        else:
            row = output // (num_w * SPAN)
            col = output % (num_w * SPAN)
            rows = num_d * num_h
            y_ptrs = y_ptr + (row // rows).to(tl.int64) * (GROUPS * C_OUT) * plane + (row % rows) * out_w + col
            ok = (output < total * SPAN) & (col < out_w)
        tl.store(
            y_ptrs[None, :] + (group * C_OUT + first)[:, None] * plane,
            tile.to(y_ptr.dtype.element_ty),
            mask=ok[None, :] & (first < C_OUT)[:, None],
        )


@triton.jit
def _store_columns(
    y_ptr, acc, pid_m, total, num_d, num_h, num_w, c_out, along, column, n_ok, out_d, out_h, out_w, plane,
    ALL_OUT: tl.constexpr, C_OUT: tl.constexpr, WHOLE: tl.constexpr, CHANNELS_LAST: tl.constexpr, SPAN: tl.constexpr, INNER: tl.constexpr,
    BLOCK_M: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Store a tile as it is: columns of one output each, or runs of whole spans in channels_last."""
    position = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    ok = place(position < total, M) & place(n_ok, C)
    if SPAN == 1:
        # Spans are outputs: their numbers are already those of memory.
        if CHANNELS_LAST:
            y_ptrs = place(y_ptr + position.to(tl.int64) * ALL_OUT, M) + place(c_out, C)
        else:
            y_ptrs = y_ptr + (position // plane).to(tl.int64) * ALL_OUT * plane + position % plane
            y_ptrs = place(y_ptrs, M) + place(c_out * plane, C)
    else:
        o_w = position % num_w
        o_h = position // num_w % num_h
        o_d = position // (num_w * num_h) % num_d
        sample = position // (num_w * num_h * num_d)
        if INNER == 0:
            o_d = o_d * SPAN
            inside = place(o_d, M) + place(along, C) < out_d
            hop = along * (out_h * out_w)
        elif INNER == 1:
            o_h = o_h * SPAN
            inside = place(o_h, M) + place(along, C) < out_h
            hop = along * out_w
        else:
            o_w = o_w * SPAN
            inside = place(o_w, M) + place(along, C) < out_w
            hop = along
        if not WHOLE:
            ok = ok & inside
        output = (o_d * out_h + o_h) * out_w + o_w
        if CHANNELS_LAST:
            y_ptrs = y_ptr + (sample.to(tl.int64) * plane + output) * ALL_OUT
            if INNER == 2 and ALL_OUT == C_OUT:
                hop = column  # a span is one run of memory
            else:
                hop = hop * ALL_OUT + c_out
            y_ptrs = place(y_ptrs, M) + place(hop, C)
        else:
            y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * plane + output
            y_ptrs = place(y_ptrs, M) + place(hop + c_out * plane, C)
    tl.store(y_ptrs, acc.to(y_ptr.dtype.element_ty), mask=ok)


@triton.jit
def run_offset(
    run, stride_d, stride_h, stride_w,
    SIDE_D: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """Return where a run of the window starts: runs go through the outer axes, then the inner one if it is dilated."""
    if INNER == 2:
        ALONG_W: tl.constexpr = 1 if SIDE_W.reach == 1 else SIDE_W.taps
        t_w = run % ALONG_W
        t_h = run // ALONG_W % SIDE_H.taps
        t_d = run // ALONG_W // SIDE_H.taps
    elif INNER == 1:
        ALONG_H: tl.constexpr = 1 if SIDE_H.reach == 1 else SIDE_H.taps
        t_h = run % ALONG_H
        t_w = run // ALONG_H % SIDE_W.taps
        t_d = run // ALONG_H // SIDE_W.taps
    else:
        ALONG_D: tl.constexpr = 1 if SIDE_D.reach == 1 else SIDE_D.taps
        t_d = run % ALONG_D
        t_w = run // ALONG_D % SIDE_W.taps
        t_h = run // ALONG_D // SIDE_W.taps
    return t_d * (SIDE_D.reach * stride_d) + t_h * (SIDE_H.reach * stride_h) + t_w * (SIDE_W.reach * stride_w)


def _spans(problem: Problem, packing: Packing, span: int) -> int:
    extents = list(problem.out_extents)
    extents[packing.inner] = -(-extents[packing.inner] // span)
    return problem.n * extents[0] * extents[1] * extents[2]


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    packing = packing_of(problem)
    assert packing is not None
    tiles = -(-_spans(problem, packing, config.SPAN) // config.BLOCK_M)
    num_n = -(-(problem.c_out // problem.groups * config.SPAN) // config.BLOCK_N)
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return inner, second, problem.groups


def signature(problem: Problem, config: Config) -> Signature:
    packing = packing_of(problem)
    assert packing is not None
    run, runs = _runs(packing, config.SPAN)
    depth, height, width = problem.out_extents
    constexprs: dict[str, Any] = {
        "C_OUT": problem.c_out // problem.groups,
        "GROUPS": problem.groups,
        "SIDE_D": packing.depth,
        "SIDE_H": packing.height,
        "SIDE_W": packing.width,
        "INNER": packing.inner,
        "CHANNELS": packing.channels,
        "RUN": run,
        "RUNS": runs,
        "WINDOW_ROW": window_row(run),
        "WHOLE": int(problem.out_extents[packing.inner] % config.SPAN == 0),
        "EVEN_OUT": gcd(depth * height * width, 16),
        "HAS_BIAS": problem.bias,
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
        "LARGE": int(is_large(problem)),
        **{field: value for field, value in config._asdict().items() if not field.startswith("num_")},
    }
    return convolution_arguments(problem).signature(
        packed, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def work(problem: Problem, config: Config) -> Work:
    packing = packing_of(problem)
    assert packing is not None
    item = ITEM_BYTES[problem.dtype]
    run, runs = _runs(packing, config.SPAN)
    steps = runs * -(-run // config.BLOCK_K)
    outputs = config.BLOCK_M * config.BLOCK_N
    grid = _grid(problem, config)
    # The pass that packs reads and writes the input once: its share of a program.
    moved = 2 * packed_elements(problem, packing, config.SPAN) * item if config.REPACK else 0
    return Work(
        flops=2 * outputs * config.BLOCK_K * steps * (3 if config.DOT == "tf32x3" else 1),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=steps * config.BLOCK_K * (config.BLOCK_M + config.BLOCK_N) * item
        + moved // max(1, grid[0] * grid[1] * grid[2]),
        stored=outputs * item,
        k_steps=steps,
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    packing = packing_of(problem)
    assert packing is not None
    rounded = config.DOT == "tf32"
    product = launcher(signature(problem, config))
    pack = window_major(problem, packing.inner, packing.channels, config.SPAN, rounded=rounded)
    if not config.REPACK:
        return convolution_plan(problem, product, pack)
    repacking = launcher(repack_signature(problem, packing, config.SPAN, rounded=rounded))
    elements, dtype = packed_elements(problem, packing, config.SPAN), getattr(torch, problem.dtype)

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        room = torch.empty(elements, dtype=dtype, device=x.device)
        repacking(x, x, None, room)
        product(room, weight, bias, out)

    return convolution_plan(problem, launch, pack)
