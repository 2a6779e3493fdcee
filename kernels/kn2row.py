"""Convolution whose width taps are separate matrix products of the same inputs, shifted and added afterwards.

The row-wise form of kn2row (Vasudevan et al., arXiv 1704.04428) and, for a transposed convolution, of GEMM and
col2im, fused: a program loads a stretch of input once for all width taps, so that every load is aligned whatever
the tap, and a strided row leaves in one piece, its phases interleaved.
"""

from collections.abc import Callable
from math import gcd
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.geometry import axes, constants, first_tap, inside, shape_flaw
from tunedb.kernels.precision import dots, operand, worth_trying
from tunedb.kernels.ptx import divisible_range
from tunedb.kernels.tiles import divisor, outer_and_inner, phase_length, place, tile_order

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import width_major, width_row

OPS = ALL_OPS


class Config(NamedTuple):
    """A tile is BLOCK_M input positions by BLOCK_N output channels, for TAPS width taps at a time."""

    LOOP: str  # "taps": channels inside depth and height taps; "flat": one axis of both, for few input channels
    PHASE: str  # where depth and height phases and groups go in the grid (tiles.outer_and_inner)
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]
    FLAT: int  # 1: tiles go through rows one after the other, for short rows; 0: a tile lies in one row
    TAPS: int  # 0: no products apart, the input is loaded once for each shift and sums are kept for each residue
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


class Width(NamedTuple):
    """The width axis: input i meets output o at tap k where o + padding = i * stride + reach(k).

    reach(k) is k * dilation, or (taps - 1 - k) * dilation where a forward convolution is read as a transposed
    one. Input and output positions share a numbering v: output o has v = (o + padding) // stride and is the
    residue (o + padding) % stride of it.
    """

    taps: int
    stride: int
    dilation: int
    flip: int
    padding: int
    halo: int  # the furthest that an input lies before its output, in positions
    first: int  # v of the first input that matters, aligned
    align: int  # elements that a vector load takes


def width_of(problem: Problem) -> Width | None:
    """Return the geometry of the width, or None where the kernel has no form for it."""
    k, s, p, d = problem.k_w, problem.stride_w, problem.padding_w, problem.dilation_w
    if not problem.transposed:
        if s != 1:
            return None
        p = (k - 1) * d - p
    if p < 0:
        return None
    halo = (k - 1) * d // s
    align = 16 // ITEM_BYTES[problem.dtype] if problem.layout == "channels_first" else 1
    first = max(0, p // s - halo) // align * align
    return Width(k, s, d, int(not problem.transposed), p, halo, first, align)


def pitch(problem: Problem, width: Width) -> int:
    """Return how many positions a row takes: its inputs, its outputs, and zeros that keep neighbours apart."""
    last = (problem.out_extents[2] - 1 + width.padding) // width.stride
    apart = problem.in_w + width.halo - width.padding // width.stride
    return -(-max(last + 1 - width.first, apart - width.first) // width.align) * width.align


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    width = width_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if width is None or width.stride == 1 or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return {}  # of stride 1 kernels/packed.py does better, measured
    outer = problem.groups * (problem.stride_d * problem.stride_h if problem.transposed else 1)
    whole = width.taps
    return {
        "LOOP": ("taps", "flat") if c_in <= 32 else ("taps",),
        "PHASE": ("fast", "slow", "axis") if outer > 1 else ("slow",),
        "ORDER": ("m", "n") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "FLAT": (0, 1) if pitch(problem, width) < 1024 else (0,),
        "TAPS": (0, *sorted({-(-whole // parts) for parts in (1, 2, whole)})),
        "BLOCK_M": (32, 64, 128, 256),
        "BLOCK_N": tuple(size for size in (16, 32, 64, 128) if size < 2 * max(c_out, 9)),
        "BLOCK_K": (16, 32, 64) if problem.dtype == "float32" else (16, 32, 64, 128),
        "DOT": worth_trying(problem),
        "num_warps": (4, 8),
        "num_stages": (2, 3, 4),
    }


def valid(problem: Problem, config: Config, device: Device) -> str:
    width = width_of(problem)
    if width is None:
        return "the width must have stride 1, or be transposed, and padding at most dilation * (kernel - 1) if it is not"
    names = {"LOOP": ("taps", "flat"), "PHASE": ("fast", "slow", "axis"), "ORDER": ("m", "n", "swizzle")}
    allowed = {**names, "SWAP": (0, 1), "FLAT": (0, 1), "DOT": dots(problem), "TAPS": tuple(range(width.taps + 1))}
    if flaw := shape_flaw(config, allowed):
        return flaw
    if not 16 <= config.BLOCK_M <= 512 or not 16 <= config.BLOCK_N <= 256 or not 16 <= config.BLOCK_K <= 256:
        return f"a tile must have 16 to 512 positions and 16 to 256 channels, but has {config.BLOCK_M}, {config.BLOCK_N} and {config.BLOCK_K}"
    lead = _lead(width, config)
    if 2 * lead > config.BLOCK_M or lead > pitch(problem, width):
        return f"BLOCK_M {config.BLOCK_M} must be at least twice the {lead} positions that only feed their neighbours, and a row at least those"
    c_in = problem.c_in // problem.groups
    if config.LOOP == "taps" and 2 * max(16, c_in) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {c_in} input channels of a group"
    threads = config.num_warps * 32
    # With all taps at once the residues' sums begin when the loop is over.
    residues = min(width.stride, width.taps) if config.TAPS < width.taps else 0
    owned = config.BLOCK_M * config.BLOCK_N * (config.TAPS + residues) // threads
    if not 4 <= owned <= (208 if problem.dtype != "float32" or config.DOT == "tf32" else 96):
        return f"a thread must keep 4 to 208 sums, but {config.num_warps} warps share {config.BLOCK_M} x {config.BLOCK_N} x {config.TAPS + residues}"
    if max(config.BLOCK_M, config.BLOCK_N) * config.BLOCK_K // threads > 64:
        return f"{config.num_warps} warps are too few to load tiles of {config.BLOCK_M} and {config.BLOCK_N} by {config.BLOCK_K}"
    stages = config.num_stages if device.capability >= 90 else max(config.num_stages - 1, 1)
    item = ITEM_BYTES[problem.dtype]
    shared = stages * ((config.BLOCK_M + config.TAPS * config.BLOCK_N) if config.TAPS else ((width.halo + 1) * config.BLOCK_M + width.taps * config.BLOCK_N)) * config.BLOCK_K * item
    if shared > device.shared_block:
        return f"{config.num_stages} stages need {shared} bytes of shared memory, but a block has {device.shared_block}"
    if _rows(problem) * pitch(problem, width) * 8 >= 2**31:
        return "all rows together must have less than 2^28 positions"
    return launch_flaw(problem, _grid(problem, config))


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    width = width_of(problem)
    assert width is not None
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    block_m = 64
    while block_m < 2 * (width.halo + width.align):
        block_m *= 2
    config = Config(
        LOOP="flat" if c_in <= 8 else "taps",
        PHASE="fast" if len(dims["PHASE"]) > 1 else "slow",
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        FLAT=int(pitch(problem, width) < 2 * block_m),
        TAPS=1 if problem.dtype != "float32" else 0,
        BLOCK_M=block_m,
        BLOCK_N=16 if c_out <= 16 or width.stride > 2 else 32,
        BLOCK_K=32 if c_in > 16 or c_in <= 8 else 16,
        DOT=str(dims["DOT"][0]),
        num_warps=4,
        num_stages=2,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200."""
    first, width = default(problem, device), width_of(problem)
    if first is None or width is None:
        return []
    c_in = problem.c_in // problem.groups
    tiles = ((1, width.taps, 64, 16, 32, 3), (0, width.taps, 128, 32, 16, 2), (0, 1, 128, 32, 32, 4), (0, 0, 128, 64, 32, 2), (1, 0, 64, 16, 32, 2))  # fmt: skip
    return [
        first._replace(SWAP=swap, TAPS=taps, BLOCK_M=m, BLOCK_N=n, BLOCK_K=min(k, max(16, c_in)), num_stages=stages)
        for swap, taps, m, n, k, stages in tiles
    ]


def _lead(width: Width, config: Config) -> int:
    """Return the positions at the head of a tile whose outputs belong to the tile before."""
    return -(-width.halo // width.align) * width.align if config.TAPS else 0


def _rows(problem: Problem) -> int:
    depth, height, _ = axes(problem)
    out_d, out_h, _ = problem.out_extents
    return problem.n * -(-out_d // depth.phases) * -(-out_h // height.phases)


@triton.jit
def kn2row(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, GROUPS: tl.constexpr, WIDTH_ROW: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, WIDTH: tl.constexpr,
    EVEN_IN: tl.constexpr, EVEN_OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    LOOP: tl.constexpr, PHASE: tl.constexpr, ORDER: tl.constexpr, SWAP: tl.constexpr, FLAT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    DOT: tl.constexpr,
):  # fmt: skip
    """x: [n, GROUPS * C_IN, in_d, in_h, in_w] in either layout; w: see weights.width_major."""
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    M: tl.constexpr = 1 if SWAP else 0
    C: tl.constexpr = 0 if SWAP else 1
    S: tl.constexpr = WIDTH.stride
    ALL: tl.constexpr = WIDTH.taps
    HALO: tl.constexpr = WIDTH.halo
    LEAD: tl.constexpr = (WIDTH.halo + WIDTH.align - 1) // WIDTH.align * WIDTH.align if TAPS else 0
    # What the host knows of the rows' lengths tells the compiler how wide a copy may be.
    in_w = in_w // EVEN_IN * EVEN_IN
    out_w = out_w // EVEN_OUT * EVEN_OUT
    row_pitch = tl.maximum(
        (out_w - 1 + WIDTH.padding) // S + 1 - WIDTH.first,
        in_w + (WIDTH.halo - WIDTH.padding // S - WIDTH.first),
    )
    row_pitch = tl.cdiv(row_pitch, WIDTH.align) * WIDTH.align
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    num_rows = n * tl.cdiv(out_d, AXIS_D.phases) * tl.cdiv(out_h, AXIS_H.phases)
    row_tiles = tl.cdiv(row_pitch, BLOCK_M - LEAD)
    if FLAT:
        num_m = tl.cdiv(num_rows * row_pitch, BLOCK_M - LEAD)
    else:
        num_m = num_rows * row_tiles
    OUTER: tl.constexpr = AXIS_D.phases * AXIS_H.phases * GROUPS
    outer, inner = outer_and_inner(OUTER, num_m if ORDER == "m" else num_m * NUM_N, PHASE)
    pid_m, pid_n = tile_order(inner, num_m, NUM_N, ORDER)
    phase = outer % (AXIS_D.phases * AXIS_H.phases)
    group = outer // (AXIS_D.phases * AXIS_H.phases)
    phase_h = phase % AXIS_H.phases
    phase_d = phase // AXIS_H.phases
    len_d = phase_length(out_d, phase_d, AXIS_D)
    len_h = phase_length(out_h, phase_h, AXIS_H)

    # The first LEAD positions of a tile repeat the end of the tile before.
    if FLAT:
        first_row = 0
        start = pid_m * (BLOCK_M - LEAD) + (row_pitch - LEAD)
        slot = start + tl.arange(0, BLOCK_M)
        row = slot // row_pitch - 1
        slot = slot % row_pitch
    else:
        first_row = pid_m // row_tiles
        start = pid_m % row_tiles * (BLOCK_M - LEAD) - LEAD
        slot = start + tl.arange(0, BLOCK_M)
        row = first_row + tl.zeros_like(slot)
    v = slot + WIDTH.first
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    row_ok = (row >= 0) & (row < n * len_d * len_h) & (slot >= 0)

    k0_d, count_d, start_d = first_tap(phase_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(phase_h, AXIS_H)
    pos_d = start_d + j_d * AXIS_D.step  # [BLOCK_M]
    pos_h = start_h + j_h * AXIS_H.step

    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    stride_xs: tl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1
    x_ptrs = x_ptr + sample.to(tl.int64) * (GROUPS * C_IN) * plane + group * C_IN * stride_xc
    x_ptrs += ((pos_d * in_h + pos_h) * in_w + v) * stride_xs
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT
    w_ptrs = w_ptr + (group * (WIDTH.taps * C_OUT) + offs_n) * WIDTH_ROW
    offs_k = tl.arange(0, BLOCK_K)

    BLOCKS_C: tl.constexpr = (C_IN + BLOCK_K - 1) // BLOCK_K
    rows_of_taps = count_d * count_h
    taps_h = divisor(count_h)
    if LOOP == "taps":
        steps = rows_of_taps * BLOCKS_C
    else:
        steps = (rows_of_taps * C_IN + BLOCK_K - 1) // BLOCK_K
    sums = ()  # one for each residue
    for _ in tl.static_range(S):
        sums = sums + (_zeros(BLOCK_M, BLOCK_N, SWAP),)
    # One round for each group of taps; the rows of taps and the channels inside.
    for first in tl.static_range(0, ALL, TAPS if TAPS else ALL):
        products = ()
        for _ in tl.static_range(_together(first, TAPS, ALL)):
            products = products + (_zeros(BLOCK_M, BLOCK_N, SWAP),)
        for step in range(steps):
            if LOOP == "taps":
                tap = step // BLOCKS_C
                channel = step % BLOCKS_C * BLOCK_K + offs_k
                k_ok = channel < C_IN
            else:
                flat = step * BLOCK_K + divisible_range(BLOCK_K)
                tap = flat // C_IN
                channel = flat % C_IN
                k_ok = flat < rows_of_taps * C_IN
            t_h = tap % taps_h
            t_d = tap // taps_h
            k = (k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop
            reach_d = t_d * AXIS_D.reach
            reach_h = t_h * AXIS_H.reach
            hop = (reach_d * in_h + reach_h) * in_w * stride_xs
            if LOOP == "taps":
                ok = place(row_ok, M)
                if AXIS_D.guard:
                    ok = ok & place(inside(pos_d + reach_d, in_d, AXIS_D)[1], M)
                if AXIS_H.guard:
                    ok = ok & place(inside(pos_h + reach_h, in_h, AXIS_H)[1], M)
                ptrs = place(x_ptrs + hop, M) + place(channel * stride_xc, C)
                if C_IN % BLOCK_K:
                    ok = ok & place(k_ok, C)
            else:
                ok = place(row_ok, M) & place(k_ok, C)
                if AXIS_D.guard:
                    ok = ok & inside(place(pos_d, M) + place(reach_d, C), in_d, AXIS_D)[1]
                if AXIS_H.guard:
                    ok = ok & inside(place(pos_h, M) + place(reach_h, C), in_h, AXIS_H)[1]
                ptrs = place(x_ptrs, M) + place(hop + channel * stride_xc, C)
            w_tile = place(w_ptrs, C) + place(k * C_IN + channel, M)
            w_ok = place(n_ok, C) & place(k_ok, M)
            if TAPS:
                x = operand(tl.load(ptrs, mask=ok & place(v < in_w, M), other=0.0), DOT)
                more = ()
                for t in tl.static_range(_together(first, TAPS, ALL)):
                    weight = tl.load(w_tile + (first + t) * (C_OUT * WIDTH_ROW), mask=w_ok, other=0.0)
                    more = more + (_product(x, weight, products[t], SWAP, DOT),)
                products = more
            else:
                for shift in tl.static_range(HALO + 1):
                    x_ok = ok & place((v >= shift) & (v < in_w + shift), M)
                    x = operand(tl.load(ptrs - shift * stride_xs, mask=x_ok, other=0.0), DOT)
                    for t in tl.static_range(ALL):
                        if _hop(t, WIDTH) == shift:
                            weight = tl.load(w_tile + t * (C_OUT * WIDTH_ROW), mask=w_ok, other=0.0)
                            sums = _added(sums, x, weight, t, WIDTH, SWAP, DOT)
        for t in tl.static_range(_together(first, TAPS, ALL)):
            sums = _shifted_in(sums, products[t], first + t, M, WIDTH)

    c_out = group * C_OUT + offs_n
    bias = tl.zeros((BLOCK_N,), dtype=tl.float32)
    if HAS_BIAS:
        bias = tl.load(b_ptr + c_out, mask=n_ok, other=0.0).to(tl.float32)
    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    stride_ys: tl.constexpr = GROUPS * C_OUT if CHANNELS_LAST else 1
    S2: tl.constexpr = _spread(S, CHANNELS_LAST)
    if S2 == 1:
        for residue in tl.static_range(S):
            _store(
                y_ptr, sums[residue], first_row, start, residue, c_out, n_ok, bias, n, len_d, len_h, phase_d, phase_h,
                out_d, out_h, out_w, row_pitch, stride_yc, stride_ys, GROUPS * C_OUT, 1, FLAT, LEAD, BLOCK_M, M, C,
                AXIS_D, AXIS_H, WIDTH,
            )  # fmt: skip
    else:
        _store(
            y_ptr, _interleaved(sums, S, S2, BLOCK_M, BLOCK_N, SWAP), first_row, start, 0, c_out, n_ok, bias, n, len_d, len_h,
            phase_d, phase_h, out_d, out_h, out_w, row_pitch, stride_yc, stride_ys, GROUPS * C_OUT, S2, FLAT, LEAD, BLOCK_M,
            1, 0, AXIS_D, AXIS_H, WIDTH,
        )  # fmt: skip


@triton.constexpr_function
def _together(first, taps, all_taps):
    """Return how many taps the group has that starts with `first`."""
    return min(taps, all_taps - first)


@triton.constexpr_function
def _hop(tap, width):
    """Return how many positions an input lies before its output at a tap."""
    return (width.taps - 1 - tap if width.flip else tap) * width.dilation // width.stride


@triton.constexpr_function
def _residue(tap, width):
    """Return which residue of the stride the outputs of a tap are."""
    return (width.taps - 1 - tap if width.flip else tap) * width.dilation % width.stride


@triton.constexpr_function
def _spread(stride, channels_last):
    """Return how many residues leave interleaved in one store: all, rounded up to a power of two, or one by one."""
    return 1 if channels_last or stride > 8 else triton.next_power_of_2(stride)


@triton.jit
def _zeros(BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SWAP: tl.constexpr):
    if SWAP:
        tile = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    else:
        tile = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    return tile


@triton.jit
def _product(x, weight, acc, SWAP: tl.constexpr, DOT: tl.constexpr):
    """Add a tile's product to an accumulator of either orientation."""
    weight = operand(weight, "ieee")  # rounded when it was packed
    if SWAP:
        acc = tl.dot(weight, x, acc, input_precision=DOT)
    else:
        acc = tl.dot(x, weight, acc, input_precision=DOT)
    return acc


@triton.jit
def _added(
    sums, x, weight, TAP: tl.constexpr, WIDTH: tl.constexpr, SWAP: tl.constexpr, DOT: tl.constexpr
):
    """Add the products of a tap to the sums of its residue; the input was loaded where its outputs are."""
    RESIDUE: tl.constexpr = _residue(TAP, WIDTH)
    return sums[:RESIDUE] + (_product(x, weight, sums[RESIDUE], SWAP, DOT),) + sums[RESIDUE + 1 :]


@triton.jit
def _shifted_in(sums, product, TAP: tl.constexpr, M: tl.constexpr, WIDTH: tl.constexpr):
    """Add the products of a tap to the sums of its residue, moved by the positions from an input to its output."""
    RESIDUE: tl.constexpr = _residue(TAP, WIDTH)
    HOP: tl.constexpr = _hop(TAP, WIDTH)
    if HOP > 0:
        source = tl.maximum(tl.arange(0, product.shape[M]) - HOP, 0)
        product = tl.gather(product, tl.broadcast_to(place(source, M), product.shape), M)
    return sums[:RESIDUE] + (sums[RESIDUE] + product,) + sums[RESIDUE + 1 :]


@triton.jit
def _interleaved(
    sums, S: tl.constexpr, S2: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SWAP: tl.constexpr
):
    """Return [channels, positions * S2]: the residues of a position side by side."""
    tiles = ()
    for residue in tl.static_range(S2):
        if residue >= S:
            tile = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        elif SWAP:
            tile = sums[residue]
        else:
            tile = tl.trans(sums[residue])
        tiles = tiles + (tile,)
    if S2 == 2:
        joined = tl.join(tiles[0], tiles[1])
    elif S2 == 4:
        joined = tl.join(tl.join(tiles[0], tiles[2]), tl.join(tiles[1], tiles[3]))
    else:
        even = tl.join(tl.join(tiles[0], tiles[4]), tl.join(tiles[2], tiles[6]))
        odd = tl.join(tl.join(tiles[1], tiles[5]), tl.join(tiles[3], tiles[7]))
        joined = tl.join(even, odd)
    return tl.reshape(joined, (BLOCK_N, BLOCK_M * S2))


@triton.jit
def _store(
    y_ptr, tile, first_row, start, residue, c_out, n_ok, bias, n, len_d, len_h, phase_d, phase_h, out_d, out_h, out_w,
    row_pitch, stride_yc, stride_ys, ALL_OUT: tl.constexpr, S2: tl.constexpr, FLAT: tl.constexpr, LEAD: tl.constexpr,
    BLOCK_M: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Store a tile of S2 interleaved residues from `residue` on."""
    offs = tl.arange(0, BLOCK_M * S2)
    along = start * S2 + offs
    ok = offs >= LEAD * S2
    if FLAT:
        row = along // (row_pitch * S2) - 1
        along = along % (row_pitch * S2)
    else:
        row = first_row + tl.zeros_like(along)
        ok = ok & (along < row_pitch * S2)
    if S2 == WIDTH.stride:
        o_w = along + (WIDTH.first * S2 - WIDTH.padding)
    else:
        o_w = (along // S2 + WIDTH.first) * WIDTH.stride + along % S2 + residue - WIDTH.padding
        ok = ok & (along % S2 < WIDTH.stride)
        # The residues of a position are neighbours: without the hint Triton would store channels first.
        o_w = tl.max_contiguous(o_w, S2)
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    ok = ok & (row >= 0) & (row < n * len_d * len_h) & (o_w >= 0) & (o_w < out_w)
    o_d = phase_d + j_d * AXIS_D.phases
    o_h = phase_h + j_h * AXIS_H.phases
    y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * (out_d * out_h * out_w)
    y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    tile += place(bias, C)
    tl.store(
        place(y_ptrs, M) + place(c_out * stride_yc, C),
        tile.to(y_ptr.dtype.element_ty),
        mask=place(ok, M) & place(n_ok, C),
    )


def signature(problem: Problem, config: Config) -> Signature:
    width = width_of(problem)
    assert width is not None
    more = {
        "WIDTH": width,
        "WIDTH_ROW": width_row(problem),
        "EVEN_IN": gcd(problem.in_w, 16),
        "EVEN_OUT": gcd(problem.out_extents[2], 16),
    }
    constexprs = {**constants(problem, axes(problem), config), **more}
    return convolution_arguments(problem).signature(
        kn2row, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def work(problem: Problem, config: Config) -> Work:
    width = width_of(problem)
    assert width is not None
    item = ITEM_BYTES[problem.dtype]
    c_in = problem.c_in // problem.groups
    depth, height, _ = axes(problem)
    taps = depth.taps / depth.phases * height.taps / height.phases
    if config.LOOP == "taps":
        depth_k, k_steps = min(config.BLOCK_K, c_in), taps * -(-c_in // config.BLOCK_K)
    else:
        depth_k, k_steps = config.BLOCK_K, taps * c_in / config.BLOCK_K + 0.5
    parts = -(-width.taps // config.TAPS) if config.TAPS else width.halo + 1
    outputs = config.BLOCK_M * config.BLOCK_N
    return Work(
        flops=int(
            2 * outputs * config.BLOCK_K * k_steps * width.taps * (3 if config.DOT == "tf32x3" else 1)
        ),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=int(k_steps * depth_k * (parts * config.BLOCK_M + width.taps * config.BLOCK_N) * item),
        stored=outputs * width.stride * item,
        k_steps=max(1, round(k_steps * parts)),
    )


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    width = width_of(problem)
    assert width is not None
    depth, height, _ = axes(problem)
    step = config.BLOCK_M - _lead(width, config)
    row = pitch(problem, width)
    tiles = -(-_rows(problem) * row // step) if config.FLAT else _rows(problem) * -(-row // step)
    num_n = -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    outer = depth.phases * height.phases * problem.groups
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return (inner, second, outer) if config.PHASE == "axis" else (inner * outer, second, 1)


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(
        problem, launcher(signature(problem, config)), width_major(problem, rounded=config.DOT == "tf32")
    )
