"""The device code of kn2row: a matrix product for each width tap, shifted and added to the sums of its residue."""

from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.kn2row.store import interleaved, interleaved_at_once, store_width_residues
from tunedb.kernels.shared.geometry import first_tap, inside
from tunedb.kernels.shared.precision import accumulator, operand, product
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.tiles import divisor, outer_and_inner, place, residue_length, tile_order

__all__ = ["Width", "kn2row", "lead"]


class Width(NamedTuple):
    """The width axis: input i meets output o at tap k where o + padding = i * stride + reach[k].

    reach[k] is k * dilation. A forward convolution is read as a transposed one: its reach[k] is (taps - 1 - k) * dilation.
    Inputs and outputs share a numbering of positions v: input i has v = i, output o has v = (o + padding) // stride and is
    the residue (o + padding) % stride of v.
    """

    taps: int
    stride: int
    reach: tuple[int, ...]
    padding: int  # of the transposed convolution
    halo: int  # positions from an input to its furthest output
    first: int  # v of the first input that matters, aligned
    align: int  # elements that a vector load takes


@triton.jit
def kn2row(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: tl.constexpr, WIDTH: tl.constexpr, W_ROW: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Convolve x, [n, groups * c_in, in_d, in_h, in_w] in either layout, with w as weights.width_major packs it in rows of W_ROW.

    PROBLEM: geometry.Constants; WIDTH: Width; CONFIG: launch.Config.
    """
    C_IN: tl.constexpr = PROBLEM.c_in
    C_OUT: tl.constexpr = PROBLEM.c_out
    GROUPS: tl.constexpr = PROBLEM.groups
    AXIS_D: tl.constexpr = PROBLEM.axis_d
    AXIS_H: tl.constexpr = PROBLEM.axis_h
    # A field of a NamedTuple is a plain value, which Triton takes neither inside a shape nor in tl.static_range, and Triton 3.6
    # takes no plain string as an argument. These have names, as constexprs.
    PHASE: tl.constexpr = CONFIG.PHASE
    ORDER: tl.constexpr = CONFIG.ORDER
    DOT: tl.constexpr = CONFIG.DOT
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    BLOCK_N: tl.constexpr = CONFIG.BLOCK_N
    BLOCK_K: tl.constexpr = CONFIG.BLOCK_K
    AT_ONCE: tl.constexpr = CONFIG.TAPS or WIDTH.taps
    TAPS: tl.constexpr = WIDTH.taps
    STRIDE: tl.constexpr = WIDTH.stride
    SHIFTS: tl.constexpr = WIDTH.halo + 1
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    M: tl.constexpr = 1 if CONFIG.SWAP else 0  # the axis of positions in an accumulator
    C: tl.constexpr = 0 if CONFIG.SWAP else 1  # the axis of channels
    LEAD: tl.constexpr = lead(WIDTH.halo, WIDTH.align, CONFIG.TAPS)
    # Triton cannot see these divisors of a row's length. They allow wider copies.
    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    out_w = out_w // PROBLEM.even_out * PROBLEM.even_out
    row_pitch = tl.maximum(
        (out_w - 1 + WIDTH.padding) // WIDTH.stride + 1 - WIDTH.first,
        in_w + (WIDTH.halo - WIDTH.padding // WIDTH.stride - WIDTH.first),
    )
    row_pitch = tl.cdiv(row_pitch, WIDTH.align) * WIDTH.align
    if PROBLEM.large:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    num_rows = n * tl.cdiv(out_d, AXIS_D.residues) * tl.cdiv(out_h, AXIS_H.residues)
    row_tiles = tl.cdiv(row_pitch, BLOCK_M - LEAD)
    if CONFIG.FLAT:
        num_m = tl.cdiv(num_rows * row_pitch, BLOCK_M - LEAD)
    else:
        num_m = num_rows * row_tiles
    RESIDUES: tl.constexpr = AXIS_D.residues * AXIS_H.residues
    outer, inner = outer_and_inner(RESIDUES * GROUPS, num_m if ORDER == "m" else num_m * NUM_N, PHASE)
    pid_m, pid_n = tile_order(inner, num_m, NUM_N, ORDER)
    residue = outer % RESIDUES
    group = outer // RESIDUES
    residue_h = residue % AXIS_H.residues
    residue_d = residue // AXIS_H.residues
    len_d = residue_length(out_d, residue_d, AXIS_D)
    len_h = residue_length(out_h, residue_h, AXIS_H)

    # The first LEAD positions of a tile repeat the last ones of the tile before.
    if CONFIG.FLAT:
        first_row = 0
        start = pid_m * (BLOCK_M - LEAD) + (row_pitch - LEAD)
        position = start + tl.arange(0, BLOCK_M)
        row = position // row_pitch - 1
        position = position % row_pitch
    else:
        first_row = pid_m // row_tiles
        start = pid_m % row_tiles * (BLOCK_M - LEAD) - LEAD
        position = start + tl.arange(0, BLOCK_M)
        row = first_row + tl.zeros_like(position)
    v = position + WIDTH.first
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    row_ok = (row >= 0) & (row < n * len_d * len_h) & (position >= 0)

    k0_d, count_d, start_d = first_tap(residue_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(residue_h, AXIS_H)
    pos_d = start_d + j_d * AXIS_D.step  # [BLOCK_M]
    pos_h = start_h + j_h * AXIS_H.step

    plane = in_d * in_h * in_w
    stride_xc = 1 if PROBLEM.channels_last else plane
    stride_xs: tl.constexpr = GROUPS * C_IN if PROBLEM.channels_last else 1
    x_ptrs = x_ptr + sample.to(tl.int64) * (GROUPS * C_IN) * plane + group * C_IN * stride_xc
    x_ptrs += ((pos_d * in_h + pos_h) * in_w + v) * stride_xs
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT
    w_ptrs = w_ptr + (group * (WIDTH.taps * C_OUT) + offs_n) * W_ROW
    offs_k = tl.arange(0, BLOCK_K)

    BLOCKS_C: tl.constexpr = (C_IN + BLOCK_K - 1) // BLOCK_K
    rows_of_taps = count_d * count_h
    taps_h = divisor(count_h)
    if CONFIG.LOOP == "taps":
        steps = rows_of_taps * BLOCKS_C
    else:
        steps = (rows_of_taps * C_IN + BLOCK_K - 1) // BLOCK_K
    sums = ()  # one for each residue of the width
    for _ in tl.static_range(STRIDE):
        sums = sums + (accumulator(BLOCK_M, BLOCK_N, CONFIG.SWAP),)
    # One pass over the depth taps, height taps and channels for each group of TAPS width taps.
    for first in tl.static_range(0, TAPS, AT_ONCE):
        products = ()
        for _ in tl.static_range(_taps_from(first, CONFIG.TAPS, TAPS)):
            products = products + (accumulator(BLOCK_M, BLOCK_N, CONFIG.SWAP),)
        for step in range(steps):
            if CONFIG.LOOP == "taps":
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
            if CONFIG.LOOP == "taps":
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
            if CONFIG.TAPS:
                x = operand(tl.load(ptrs, mask=ok & place(v < in_w, M), other=0.0), DOT)
                more = ()
                for t in tl.static_range(_taps_from(first, CONFIG.TAPS, TAPS)):
                    weight = tl.load(w_tile + (first + t) * (C_OUT * W_ROW), mask=w_ok, other=0.0)
                    more = more + (product(x, weight, products[t], CONFIG.SWAP, DOT),)
                products = more
            else:
                for shift in tl.static_range(SHIFTS):
                    x_ok = ok & place((v >= shift) & (v < in_w + shift), M)
                    x = operand(tl.load(ptrs - shift * stride_xs, mask=x_ok, other=0.0), DOT)
                    for t in tl.static_range(TAPS):
                        if WIDTH.reach[t] // WIDTH.stride == shift:
                            weight = tl.load(w_tile + t * (C_OUT * W_ROW), mask=w_ok, other=0.0)
                            sums = _add_product(sums, x, weight, t, WIDTH, CONFIG)
        for t in tl.static_range(_taps_from(first, CONFIG.TAPS, TAPS)):
            sums = _add_moved(sums, products[t], first + t, M, WIDTH)

    c_out = group * C_OUT + offs_n
    bias = tl.zeros((BLOCK_N,), dtype=tl.float32)
    if PROBLEM.has_bias:
        bias = tl.load(b_ptr + c_out, mask=n_ok, other=0.0).to(tl.float32)
    TOGETHER: tl.constexpr = interleaved_at_once(PROBLEM.channels_last, STRIDE)
    if TOGETHER == 1:
        for residue_w in tl.static_range(STRIDE):
            store_width_residues(
                y_ptr, sums[residue_w], first_row, start, c_out, n_ok, bias, n, len_d, len_h, residue_d, residue_h,
                out_d, out_h, out_w, row_pitch, residue_w, 1, M, PROBLEM, WIDTH, LEAD, CONFIG,
            )  # fmt: skip
    else:
        store_width_residues(
            y_ptr, interleaved(sums, TOGETHER, WIDTH, CONFIG), first_row, start, c_out, n_ok, bias, n, len_d, len_h, residue_d, residue_h,
            out_d, out_h, out_w, row_pitch, 0, TOGETHER, 1, PROBLEM, WIDTH, LEAD, CONFIG,
        )  # fmt: skip


@triton.constexpr_function
def lead(halo, align, taps):
    """Return the positions at the head of a tile that only feed the outputs behind them: the halo, in whole vectors."""
    # Given numbers, because Triton 3.6 makes a plain tuple of a NamedTuple where the host or the interpreter calls this.
    return -(-halo // align) * align if taps else 0


@triton.constexpr_function
def _taps_from(first, at_once, taps):
    """Return how many taps the group has whose first tap is `first`; none where TAPS is 0."""
    return min(at_once, taps - first)


@triton.jit
def _add_product(sums, x, weight, TAP: tl.constexpr, WIDTH: tl.constexpr, CONFIG: tl.constexpr):
    """Add the product of a tap to the sums of its residue; x was loaded at the positions of its outputs."""
    RESIDUE: tl.constexpr = WIDTH.reach[TAP] % WIDTH.stride
    DOT: tl.constexpr = CONFIG.DOT
    added = product(x, weight, sums[RESIDUE], CONFIG.SWAP, DOT)
    return sums[:RESIDUE] + (added,) + sums[RESIDUE + 1 :]


@triton.jit
def _add_moved(sums, product, TAP: tl.constexpr, M: tl.constexpr, WIDTH: tl.constexpr):
    """Add the product of a tap to the sums of its residue, moved along axis M from the inputs' positions to the outputs'."""
    RESIDUE: tl.constexpr = WIDTH.reach[TAP] % WIDTH.stride
    MOVE: tl.constexpr = WIDTH.reach[TAP] // WIDTH.stride
    if MOVE > 0:
        # The first positions have no source. They are among the LEAD ones, which are not stored.
        source = tl.maximum(tl.arange(0, product.shape[M]) - MOVE, 0)
        product = tl.gather(product, tl.broadcast_to(place(source, M), product.shape), M)
    return sums[:RESIDUE] + (sums[RESIDUE] + product,) + sums[RESIDUE + 1 :]
