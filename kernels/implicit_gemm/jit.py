"""The code of kernels/implicit_gemm.py for the GPU."""

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import first_tap, inside
from tunedb.kernels.shared.precision import accumulator, operand
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.tiles import (
    columns,
    divisor,
    outer_and_inner,
    phase_length,
    place,
    rows,
    split_phase,
    tile_order,
)

__all__ = ["implicit_gemm"]


@triton.jit
def implicit_gemm(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, GROUPS: tl.constexpr, ROW: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr, EVEN_IN: tl.constexpr, EVEN_OUT: tl.constexpr,
    LOOP: tl.constexpr, PHASE: tl.constexpr, ORDER: tl.constexpr, SWAP: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    SPLIT: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """x: [n, GROUPS * C_IN, in_d, in_h, in_w] in either layout; w: [GROUPS * C_OUT, ROW], see weights.k_major.

    y: the output, or float32 parts of it, SPLIT times its elements.
    """
    PHASES: tl.constexpr = AXIS_D.phases * AXIS_H.phases * AXIS_W.phases
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    # Axis of the positions and of the channels in the operand tiles and in the accumulator.
    M: tl.constexpr = 1 if SWAP else 0
    C: tl.constexpr = 0 if SWAP else 1
    in_w = in_w // EVEN_IN * EVEN_IN
    out_w = out_w // EVEN_OUT * EVEN_OUT
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)
    num_w = tl.cdiv(tl.cdiv(out_w, AXIS_W.phases), BLOCK_W)
    num_r = tl.cdiv(n * tl.cdiv(out_d, AXIS_D.phases) * tl.cdiv(out_h, AXIS_H.phases), BLOCK_R)
    num_m = num_r * num_w
    outer, inner = outer_and_inner(PHASES * GROUPS, num_m if ORDER == "m" else num_m * NUM_N, PHASE)
    pid_m, pid_n = tile_order(inner, num_m, NUM_N, ORDER)
    phase_d, phase_h, phase_w = split_phase(outer % PHASES, AXIS_D, AXIS_H, AXIS_W)
    group = outer // PHASES

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
    stride_xs: tl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1  # between neighbours in width
    x_ptrs = x_ptr + (sample.to(tl.int64) * (GROUPS * C_IN) * plane + same) + group * C_IN * stride_xc
    LINEAR: tl.constexpr = AXIS_D.divisor * AXIS_H.divisor * AXIS_W.divisor == 1
    if LINEAR:
        # The row's own base is hoisted; a tap only adds to it.
        x_ptrs += ((pos_d * in_h + pos_h) * in_w + pos_w) * stride_xs

    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT
    w_ptrs = w_ptr + (group * C_OUT + offs_n) * ROW
    offs_k = tl.arange(0, BLOCK_K)
    acc = accumulator(BLOCK_R * BLOCK_W, BLOCK_N, SWAP)

    BLOCKS_C: tl.constexpr = (C_IN + BLOCK_K - 1) // BLOCK_K
    taps = count_d * count_h * count_w
    taps_w = divisor(count_w)
    taps_h = divisor(count_h)
    if LOOP != "flat":
        steps = taps * BLOCKS_C
    else:
        steps = (taps * C_IN + BLOCK_K - 1) // BLOCK_K
    first = 0
    if SPLIT > 1:
        # A part of the sum, and with it a tensor of parts; one without steps is zeros.
        part = tl.program_id(2)
        first = part * tl.cdiv(steps, SPLIT)
        steps = tl.minimum(steps, first + tl.cdiv(steps, SPLIT))
        y_ptr += part * (n * (GROUPS * C_OUT) * (out_d * out_h * out_w))
    for step in range(first, steps):
        if LOOP == "taps":
            tap = step // BLOCKS_C  # scalar
            channel = step % BLOCKS_C * BLOCK_K + offs_k  # [BLOCK_K]
            k_ok = channel < C_IN
        elif LOOP == "channels":
            tap = step % divisor(taps)
            channel = step // divisor(taps) * BLOCK_K + offs_k
            k_ok = channel < C_IN
        else:
            flat = step * BLOCK_K + divisible_range(BLOCK_K)
            tap = flat // C_IN  # [BLOCK_K]
            channel = flat % C_IN
            k_ok = flat < taps * C_IN
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
        if LOOP != "flat":
            # One tap for the whole tile: masks and row addresses are vectors of positions.
            d, ok_d = inside(pos_d + reach_d, in_d, AXIS_D)
            h, ok_h = inside(pos_h + reach_h, in_h, AXIS_H)
            w, ok_w = inside(pos_w + reach_w, in_w, AXIS_W)
            ok = m_ok
            ptrs = x_ptrs
        else:
            # Every column of the tile has its own tap: positions and taps meet in two dimensions.
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
        if LOOP != "flat":
            ok = place(ok, M)
            if C_IN % BLOCK_K:
                ok = ok & place(k_ok, C)
            ptrs = place(ptrs, M)
        x = tl.load(ptrs + place(channel * stride_xc, C), mask=ok, other=0.0)
        weight = tl.load(
            place(w_ptrs, C) + place(k * C_IN + channel, M), mask=place(n_ok, C) & place(k_ok, M), other=0.0
        )
        x = operand(x, DOT)
        weight = operand(weight, "ieee")  # rounded when it was packed
        if SWAP:
            acc = tl.dot(weight, x, acc, input_precision=DOT)
        else:
            acc = tl.dot(x, weight, acc, input_precision=DOT)

    c_out = group * C_OUT + offs_n
    if HAS_BIAS:
        acc += place(tl.load(b_ptr + c_out, mask=n_ok, other=0.0).to(tl.float32), C)
    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    stride_ys: tl.constexpr = GROUPS * C_OUT if CHANNELS_LAST else 1
    o_d = phase_d + j_d * AXIS_D.phases
    o_h = phase_h + j_h * AXIS_H.phases
    o_w = phase_w + j_w * AXIS_W.phases
    y_ptrs = y_ptr + (sample.to(tl.int64) * (GROUPS * C_OUT) * out_plane + same)
    y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    tl.store(
        place(y_ptrs, M) + place(c_out * stride_yc, C),
        acc.to(y_ptr.dtype.element_ty),
        mask=place(m_ok, M) & place(n_ok, C),
    )
