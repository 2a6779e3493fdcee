"""The code of kernels/packed.py for the GPU: a matrix product over the runs of a packed input."""

import triton
import triton.language as tl
from tunedb.kernels.precision import operand
from tunedb.kernels.repack import packed_length, packed_strides
from tunedb.kernels.tiles import place, tile_order

__all__ = ["packed"]


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
        output = pid_m * (BLOCK_M * SPAN) + tl.arange(
            0, BLOCK_M * SPAN
        )  # among all outputs of a channel, spans whole
        if WHOLE:
            y_ptrs = y_ptr + (output // plane).to(tl.int64) * (GROUPS * C_OUT) * plane + output % plane
            ok = output < total * SPAN
        else:
            row = output // (num_w * SPAN)
            col = output % (num_w * SPAN)
            rows = num_d * num_h
            y_ptrs = (
                y_ptr + (row // rows).to(tl.int64) * (GROUPS * C_OUT) * plane + (row % rows) * out_w + col
            )
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
