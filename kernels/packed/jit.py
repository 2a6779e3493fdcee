"""The code of kernels/packed.py for the GPU: a matrix product over the runs of a packed input."""

import triton
import triton.language as tl
from tunedb.kernels.packed.store import store_columns, store_residues, store_spans
from tunedb.kernels.shared.packing import packed_length, packed_strides, spots
from tunedb.kernels.shared.precision import accumulator, operand, product
from tunedb.kernels.shared.tiles import place, tile_at

__all__ = ["packed"]


@triton.jit
def packed(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_OUT: tl.constexpr, GROUPS: tl.constexpr,
    SIDE_D: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, INNER: tl.constexpr, CHANNELS: tl.constexpr,
    RES_D: tl.constexpr, RES_H: tl.constexpr, RES_W: tl.constexpr, STRIDED: tl.constexpr,
    WIDE_D: tl.constexpr, WIDE_H: tl.constexpr, WIDE_W: tl.constexpr, EVEN_ROW: tl.constexpr,
    RUN: tl.constexpr, RUNS: tl.constexpr, WINDOW_ROW: tl.constexpr, WHOLE: tl.constexpr, EVEN_OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    REPACK: tl.constexpr, SPAN: tl.constexpr, ORDER: tl.constexpr, SWAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    TILES: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """x: packed by repack; w: [GROUPS * C_OUT * SPAN, RUNS, WINDOW_ROW], see weights.window_major and weights.residue_major."""
    COLUMNS: tl.constexpr = C_OUT * RES_D.live * RES_H.live * SPAN
    NUM_N: tl.constexpr = (COLUMNS + BLOCK_N - 1) // BLOCK_N
    # Three times a power of two: two tiles of columns with the same positions.
    MAIN: tl.constexpr = BLOCK_N if BLOCK_N % 3 else BLOCK_N // 3 * 2
    REST: tl.constexpr = BLOCK_N - MAIN
    M: tl.constexpr = 1 if SWAP else 0
    C: tl.constexpr = 0 if SWAP else 1
    out_w = out_w // EVEN_ROW * EVEN_ROW
    num_d = spots(out_d, RES_D, WIDE_D)
    num_h = spots(out_h, RES_H, WIDE_H)
    num_w = spots(out_w, RES_W, WIDE_W)
    total = n * num_d * num_h * num_w
    pid_m, pid_n, group = tile_at(tl.program_id(0), tl.cdiv(tl.cdiv(total, BLOCK_M), TILES), NUM_N, ORDER)
    if REPACK:
        len_d = packed_length(num_d, SIDE_D, WIDE_D)
        len_h = packed_length(num_h, SIDE_H, WIDE_H)
        len_w = packed_length(num_w, SIDE_W, WIDE_W)
    else:
        len_d = in_d
        len_h = in_h
        len_w = in_w
    stride_d, stride_h, stride_w, stride_n = packed_strides(len_d, len_h, len_w, INNER, CHANNELS)
    offs_k = tl.arange(0, BLOCK_K)
    column = pid_n * BLOCK_N
    w_ptrs = w_ptr + group * (COLUMNS * RUNS * WINDOW_ROW)
    w_tile, w_ok = _rows(w_ptrs, column, offs_k, COLUMNS, RUNS * WINDOW_ROW, MAIN, M, C)
    if REST:
        w_rest, rest_ok = _rows(w_ptrs, column + MAIN, offs_k, COLUMNS, RUNS * WINDOW_ROW, REST, M, C)
    plane = out_d * out_h * out_w // EVEN_OUT * EVEN_OUT
    if LARGE:
        plane = plane.to(tl.int64)
    # The same number as total, but with what is known of its factors: a mask that is the same for whole vectors.
    if (SPAN == 1 or WHOLE) and not STRIDED:
        total_outputs = n * plane
    else:
        total_outputs = total * SPAN
    # One flattened loop: the copies of the next tile are under way while a tile is stored.
    for tile in tl.range(0, TILES, flatten=True):
        tile_m = pid_m * TILES + tile
        # Beyond the end the last window is read again, which needs no mask; it is not stored.
        spot = tl.minimum(tile_m * BLOCK_M + tl.arange(0, BLOCK_M), total - 1)
        o_w = spot % num_w
        o_h = spot // num_w % num_h
        o_d = spot // (num_w * num_h) % num_d
        sample = spot // (num_w * num_h * num_d)
        x_ptrs = x_ptr + (group.to(tl.int64) * n + sample) * stride_n  # [BLOCK_M]
        x_ptrs += o_d * (SIDE_D.step * WIDE_D * stride_d)
        x_ptrs += o_h * (SIDE_H.step * WIDE_H * stride_h)
        x_ptrs += o_w * (SIDE_W.step * WIDE_W * stride_w)
        x_tile = place(x_ptrs, M) + place(offs_k, C)
        acc = accumulator(BLOCK_M, MAIN, SWAP)
        if REST:
            acc_rest = accumulator(BLOCK_M, REST, SWAP)
        BLOCKS: tl.constexpr = (RUN + BLOCK_K - 1) // BLOCK_K
        for step in range(RUNS * BLOCKS):
            run = step // BLOCKS
            k = step % BLOCKS * BLOCK_K
            x_hop = _run_offset(run, stride_d, stride_h, stride_w, SIDE_D, SIDE_H, SIDE_W, INNER) + k
            w_hop = run * WINDOW_ROW + k
            if RUN % BLOCK_K:
                k_ok = k + offs_k < RUN
                x = tl.load(x_tile + x_hop, mask=place(k_ok, C), other=0.0)
                weight = tl.load(w_tile + w_hop, mask=w_ok & place(k_ok, M), other=0.0)
            else:
                x = tl.load(x_tile + x_hop)
                weight = tl.load(w_tile + w_hop, mask=w_ok, other=0.0)
            # Rounded when it was packed, as the weights were.
            x = operand(x, "ieee" if REPACK else DOT)
            acc = product(x, weight, acc, SWAP, DOT)
            if REST:
                if RUN % BLOCK_K:
                    weight = tl.load(w_rest + w_hop, mask=rest_ok & place(k_ok, M), other=0.0)
                else:
                    weight = tl.load(w_rest + w_hop, mask=rest_ok, other=0.0)
                acc_rest = product(x, weight, acc_rest, SWAP, DOT)
        _store(
            y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane, total_outputs,
            C_OUT, GROUPS, RES_D, RES_H, RES_W, STRIDED, INNER, SPAN, WHOLE, HAS_BIAS, CHANNELS_LAST, SWAP, BLOCK_M, MAIN,
        )  # fmt: skip
        if REST:
            _store(
                y_ptr, b_ptr, acc_rest, tile_m, column + MAIN, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane, total_outputs,
                C_OUT, GROUPS, RES_D, RES_H, RES_W, STRIDED, INNER, SPAN, WHOLE, HAS_BIAS, CHANNELS_LAST, SWAP, BLOCK_M, REST,
            )  # fmt: skip


@triton.jit
def _rows(
    w_ptrs, column, offs_k,
    COLUMNS: tl.constexpr, ROW: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Return where the weights of SIZE columns start, and which of the columns there are."""
    offs_n = column + tl.arange(0, SIZE)
    return place(w_ptrs + offs_n * ROW, C) + place(offs_k, M), place(offs_n < COLUMNS, C)


@triton.jit
def _store(
    y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane, total_outputs,
    C_OUT: tl.constexpr, GROUPS: tl.constexpr, RES_D: tl.constexpr, RES_H: tl.constexpr, RES_W: tl.constexpr,
    STRIDED: tl.constexpr, INNER: tl.constexpr, SPAN: tl.constexpr, WHOLE: tl.constexpr, HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    SWAP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add the bias to a tile whose first column is given, and store it."""
    M: tl.constexpr = 1 if SWAP else 0
    C: tl.constexpr = 0 if SWAP else 1
    offs_n = column + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT * RES_D.live * RES_H.live * SPAN
    # Columns are (output of the span, channel) in channels_last, (channel, output of the span) in channels_first: the
    # order of memory in both.
    if CHANNELS_LAST:
        channel = offs_n % C_OUT
        along = offs_n // C_OUT
    else:
        channel = offs_n // (SPAN * RES_D.live * RES_H.live)
        along = offs_n % SPAN
    if HAS_BIAS:
        acc += place(tl.load(b_ptr + group * C_OUT + channel, mask=n_ok, other=0.0).to(tl.float32), C)
    if STRIDED:
        store_residues(
            y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, offs_n, n_ok, out_d, out_h, out_w, plane,
            GROUPS * C_OUT, C_OUT, RES_D, RES_H, RES_W, SPAN, HAS_BIAS, CHANNELS_LAST, SWAP, BLOCK_M, BLOCK_N, M, C,
        )  # fmt: skip
    elif CHANNELS_LAST or SPAN == 1 or INNER != 2:
        store_columns(
            y_ptr, acc, tile_m, total_outputs if SPAN == 1 else total, num_d, num_h, num_w, group * C_OUT + channel, along, offs_n, n_ok,
            out_d, out_h, out_w, plane, GROUPS * C_OUT, C_OUT, WHOLE, CHANNELS_LAST, SPAN, INNER, BLOCK_M, M, C,
        )  # fmt: skip
    else:
        store_spans(
            y_ptr, acc, tile_m, column, group, total_outputs, num_d, num_h, num_w, out_w, plane,
            GROUPS * C_OUT, C_OUT, WHOLE, SPAN, SWAP, BLOCK_M, BLOCK_N,
        )  # fmt: skip


@triton.jit
def _run_offset(
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
