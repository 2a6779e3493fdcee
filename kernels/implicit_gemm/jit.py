"""The GPU code of implicit_gemm: a program sums matrix products, one for each step along K, to a tile of outputs."""

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import first_tap, inside
from tunedb.kernels.shared.precision import accumulator, operand, product
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.tiles import (
    columns,
    divisor,
    outer_and_inner,
    place,
    residue_length,
    rows,
    split_residue,
    tile_order,
)

__all__ = ["implicit_gemm"]


@triton.jit
def implicit_gemm(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: tl.constexpr, CONFIG: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """x: [n, channels, in_d, in_h, in_w] in either layout; w: [channels, ROW], see weights.k_major.

    y: the output; where CONFIG.SPLIT > 1 so many float32 tensors of its shape, one for each part of the sum.
    """
    # Triton 3.6 hands a string to a helper only where a name annotated as tl.constexpr holds it, not as CONFIG.ORDER.
    PHASE: tl.constexpr = CONFIG.PHASE
    ORDER: tl.constexpr = CONFIG.ORDER
    DOT: tl.constexpr = CONFIG.DOT
    AXIS_D: tl.constexpr = PROBLEM.axis_d
    AXIS_H: tl.constexpr = PROBLEM.axis_h
    AXIS_W: tl.constexpr = PROBLEM.axis_w
    RESIDUES: tl.constexpr = AXIS_D.residues * AXIS_H.residues * AXIS_W.residues
    ALL_IN: tl.constexpr = PROBLEM.groups * PROBLEM.c_in
    ALL_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    NUM_N: tl.constexpr = (PROBLEM.c_out + CONFIG.BLOCK_N - 1) // CONFIG.BLOCK_N
    # The axis along which output positions (M) and channels (C) lie in the operand tiles and in the accumulator.
    M: tl.constexpr = 1 if CONFIG.SWAP else 0
    C: tl.constexpr = 0 if CONFIG.SWAP else 1
    # Changes nothing, but tells Triton how far rows are aligned: copies can be wider.
    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    out_w = out_w // PROBLEM.even_out * PROBLEM.even_out
    if PROBLEM.large:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    num_w = tl.cdiv(tl.cdiv(out_w, AXIS_W.residues), CONFIG.BLOCK_W)
    num_r = tl.cdiv(n * tl.cdiv(out_d, AXIS_D.residues) * tl.cdiv(out_h, AXIS_H.residues), CONFIG.BLOCK_R)
    num_m = num_r * num_w
    outer, inner = outer_and_inner(RESIDUES * PROBLEM.groups, num_m if ORDER == "m" else num_m * NUM_N, PHASE)
    pid_m, pid_n = tile_order(inner, num_m, NUM_N, ORDER)
    residue_d, residue_h, residue_w = split_residue(outer % RESIDUES, PROBLEM)
    group = outer // RESIDUES

    len_d = residue_length(out_d, residue_d, AXIS_D)
    len_h = residue_length(out_h, residue_h, AXIS_H)
    len_w = residue_length(out_w, residue_w, AXIS_W)
    sample, j_d, j_h, row_ok = rows(pid_m // num_w, n, len_d, len_h, CONFIG.BLOCK_R, CONFIG.BLOCK_W)
    j_w = columns(pid_m % num_w, CONFIG.BLOCK_R, CONFIG.BLOCK_W)  # [BLOCK_M], BLOCK_M = BLOCK_R * BLOCK_W
    m_ok = row_ok & (j_w < len_w)

    k0_d, count_d, start_d = first_tap(residue_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(residue_h, AXIS_H)
    k0_w, count_w, start_w = first_tap(residue_w, AXIS_W)
    zeros = tl.zeros_like(j_w)  # with BLOCK_R = 1 a row's numbers are scalars: adding it makes them [BLOCK_M]
    pos_d = start_d + j_d * AXIS_D.step + zeros  # [BLOCK_M]: input positions under the first tap
    pos_h = start_h + j_h * AXIS_H.step + zeros
    pos_w = start_w + j_w * AXIS_W.step

    plane = in_d * in_h * in_w
    stride_xc = 1 if PROBLEM.channels_last else plane
    stride_xs: tl.constexpr = ALL_IN if PROBLEM.channels_last else 1  # between neighbours in width
    x_ptrs = x_ptr + (sample.to(tl.int64) * ALL_IN * plane + zeros) + group * PROBLEM.c_in * stride_xc
    LINEAR: tl.constexpr = AXIS_D.divisor * AXIS_H.divisor * AXIS_W.divisor == 1
    if LINEAR:
        # Without divisions an address is a sum: the part that no tap changes is computed once, before the loop.
        x_ptrs += ((pos_d * in_h + pos_h) * in_w + pos_w) * stride_xs

    offs_n = pid_n * CONFIG.BLOCK_N + tl.arange(0, CONFIG.BLOCK_N)
    n_ok = offs_n < PROBLEM.c_out
    w_ptrs = w_ptr + (group * PROBLEM.c_out + offs_n) * ROW
    offs_k = tl.arange(0, CONFIG.BLOCK_K)
    acc = accumulator(CONFIG.BLOCK_R * CONFIG.BLOCK_W, CONFIG.BLOCK_N, CONFIG.SWAP)

    BLOCKS_C: tl.constexpr = (PROBLEM.c_in + CONFIG.BLOCK_K - 1) // CONFIG.BLOCK_K
    taps = count_d * count_h * count_w
    taps_w = divisor(count_w)
    taps_h = divisor(count_h)
    if CONFIG.LOOP != "flat":
        steps = taps * BLOCKS_C
    else:
        steps = (taps * PROBLEM.c_in + CONFIG.BLOCK_K - 1) // CONFIG.BLOCK_K
    first = 0
    if CONFIG.SPLIT > 1:
        # Each part of the sum is a program's and goes to a tensor of its own; a part without steps is zeros.
        part = tl.program_id(2)
        first = part * tl.cdiv(steps, CONFIG.SPLIT)
        steps = tl.minimum(steps, first + tl.cdiv(steps, CONFIG.SPLIT))
        y_ptr += part * (n * ALL_OUT * (out_d * out_h * out_w))
    for step in range(first, steps):
        if CONFIG.LOOP == "taps":
            tap = step // BLOCKS_C  # scalar
            channel = step % BLOCKS_C * CONFIG.BLOCK_K + offs_k  # [BLOCK_K]
            k_ok = channel < PROBLEM.c_in
        elif CONFIG.LOOP == "channels":
            tap = step % divisor(taps)
            channel = step // divisor(taps) * CONFIG.BLOCK_K + offs_k
            k_ok = channel < PROBLEM.c_in
        else:
            flat = step * CONFIG.BLOCK_K + divisible_range(CONFIG.BLOCK_K)
            tap = flat // PROBLEM.c_in  # [BLOCK_K]
            channel = flat % PROBLEM.c_in
            k_ok = flat < taps * PROBLEM.c_in
        t_w = tap % taps_w
        t_h = tap // taps_w % taps_h
        t_d = tap // (taps_w * taps_h)
        k = (
            ((k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop) * AXIS_W.taps
            + k0_w
            + t_w * AXIS_W.hop
        )
        reach_d = t_d * AXIS_D.reach
        reach_h = t_h * AXIS_H.reach
        reach_w = t_w * AXIS_W.reach
        if CONFIG.LOOP != "flat":
            # The whole tile has one tap: masks and addresses of rows are vectors of positions.
            d, ok_d = inside(pos_d + reach_d, in_d, AXIS_D)
            h, ok_h = inside(pos_h + reach_h, in_h, AXIS_H)
            w, ok_w = inside(pos_w + reach_w, in_w, AXIS_W)
            ok = m_ok
            ptrs = x_ptrs
        else:
            # Every element of K has a tap of its own: masks and addresses have two axes, positions and K.
            reach_d = place(reach_d, C)
            reach_h = place(reach_h, C)
            reach_w = place(reach_w, C)
            d, ok_d = inside(place(pos_d, M) + reach_d, in_d, AXIS_D)
            h, ok_h = inside(place(pos_h, M) + reach_h, in_h, AXIS_H)
            w, ok_w = inside(place(pos_w, M) + reach_w, in_w, AXIS_W)
            ok = place(m_ok, M) & place(k_ok, C)
            ptrs = place(x_ptrs, M)
        if AXIS_D.guard:
            ok = ok & ok_d
        if AXIS_H.guard:
            ok = ok & ok_h
        if AXIS_W.guard:
            ok = ok & ok_w
        if LINEAR:
            ptrs += ((reach_d * in_h + reach_h) * in_w + reach_w) * stride_xs
        else:
            ptrs += ((d * in_h + h) * in_w + w) * stride_xs
        if CONFIG.LOOP != "flat":
            ok = place(ok, M)
            if PROBLEM.c_in % CONFIG.BLOCK_K:
                ok = ok & place(k_ok, C)
            ptrs = place(ptrs, M)
        x = tl.load(ptrs + place(channel * stride_xc, C), mask=ok, other=0.0)
        weight = tl.load(
            place(w_ptrs, C) + place(k * PROBLEM.c_in + channel, M),
            mask=place(n_ok, C) & place(k_ok, M),
            other=0.0,
        )
        acc = product(operand(x, DOT), weight, acc, CONFIG.SWAP, DOT)

    c_out = group * PROBLEM.c_out + offs_n
    if PROBLEM.has_bias:
        acc += place(tl.load(b_ptr + c_out, mask=n_ok, other=0.0).to(tl.float32), C)
    out_plane = out_d * out_h * out_w
    stride_yc = 1 if PROBLEM.channels_last else out_plane
    stride_ys: tl.constexpr = ALL_OUT if PROBLEM.channels_last else 1
    o_d = residue_d + j_d * AXIS_D.residues
    o_h = residue_h + j_h * AXIS_H.residues
    o_w = residue_w + j_w * AXIS_W.residues
    y_ptrs = y_ptr + (sample.to(tl.int64) * ALL_OUT * out_plane + zeros)
    y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    tl.store(
        place(y_ptrs, M) + place(c_out * stride_yc, C),
        acc.to(y_ptr.dtype.element_ty),
        mask=place(m_ok, M) & place(n_ok, C),
    )
