"""The code of kernels/kn2row.py for the GPU: matrix products of width taps, shifted and added."""

from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import first_tap, inside
from tunedb.kernels.shared.precision import accumulator, operand, product
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.residues import interleaved, spread, store_residues
from tunedb.kernels.shared.tiles import divisor, outer_and_inner, phase_length, place, tile_order

__all__ = ["Width", "kn2row"]


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
        sums = sums + (accumulator(BLOCK_M, BLOCK_N, SWAP),)
    # One round for each group of taps; the rows of taps and the channels inside.
    for first in tl.static_range(0, ALL, TAPS or ALL):
        products = ()
        for _ in tl.static_range(_together(first, TAPS, ALL)):
            products = products + (accumulator(BLOCK_M, BLOCK_N, SWAP),)
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
                    more = more + (product(x, weight, products[t], SWAP, DOT),)
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
    S2: tl.constexpr = spread(S, CHANNELS_LAST)
    if S2 == 1:
        for residue in tl.static_range(S):
            store_residues(
                y_ptr, sums[residue], first_row, start, residue, c_out, n_ok, bias, n, len_d, len_h, phase_d, phase_h,
                out_d, out_h, out_w, row_pitch, stride_yc, stride_ys, GROUPS * C_OUT, 1, FLAT, LEAD, BLOCK_M, M, C,
                AXIS_D, AXIS_H, WIDTH,
            )  # fmt: skip
    else:
        store_residues(
            y_ptr, interleaved(sums, S, S2, BLOCK_M, BLOCK_N, SWAP), first_row, start, 0, c_out, n_ok, bias, n, len_d, len_h,
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


@triton.jit
def _added(sums, x, weight, TAP: tl.constexpr, WIDTH: tl.constexpr, SWAP: tl.constexpr, DOT: tl.constexpr):
    """Add the products of a tap to the sums of its residue; the input was loaded where its outputs are."""
    RESIDUE: tl.constexpr = _residue(TAP, WIDTH)
    return sums[:RESIDUE] + (product(x, weight, sums[RESIDUE], SWAP, DOT),) + sums[RESIDUE + 1 :]


@triton.jit
def _shifted_in(sums, product, TAP: tl.constexpr, M: tl.constexpr, WIDTH: tl.constexpr):
    """Add the products of a tap to the sums of its residue, moved by the positions from an input to its output."""
    RESIDUE: tl.constexpr = _residue(TAP, WIDTH)
    HOP: tl.constexpr = _hop(TAP, WIDTH)
    if HOP > 0:
        source = tl.maximum(tl.arange(0, product.shape[M]) - HOP, 0)
        product = tl.gather(product, tl.broadcast_to(place(source, M), product.shape), M)
    return sums[:RESIDUE] + (sums[RESIDUE] + product,) + sums[RESIDUE + 1 :]
