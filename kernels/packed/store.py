"""Where the sums of kernels/packed.py go: spans of outputs or residues of a stride, side by side before the store."""

import triton
import triton.language as tl
from tunedb.kernels.shared.tiles import place

__all__ = ["store_columns", "store_residues", "store_spans"]


@triton.jit
def store_columns(
    y_ptr, acc, tile_m, total, num_d, num_h, num_w, c_out, along, column, n_ok, out_d, out_h, out_w, plane,
    ALL_OUT: tl.constexpr, C_OUT: tl.constexpr, WHOLE: tl.constexpr, CHANNELS_LAST: tl.constexpr, SPAN: tl.constexpr, INNER: tl.constexpr,
    BLOCK_M: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Store a tile as it is: columns of one output each, or runs of whole spans in channels_last."""
    position = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
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
def store_spans(
    y_ptr, acc, tile_m, column, group, total_outputs, num_d, num_h, num_w, out_w, plane,
    ALL_OUT: tl.constexpr, C_OUT: tl.constexpr, WHOLE: tl.constexpr, SPAN: tl.constexpr, SWAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Store a channels_first tile whose columns are (channel, output of a span along the width)."""
    side = _side_by_side(acc, SPAN, SWAP, BLOCK_M, BLOCK_N)
    first = column // SPAN + tl.arange(0, BLOCK_N // SPAN)
    output = tile_m * (BLOCK_M * SPAN) + tl.arange(0, BLOCK_M * SPAN)  # of a channel, spans whole
    if WHOLE:
        y_ptrs = y_ptr + (output // plane).to(tl.int64) * ALL_OUT * plane + output % plane
        ok = output < total_outputs
    else:
        row = output // (num_w * SPAN)
        col = output % (num_w * SPAN)
        rows = num_d * num_h
        y_ptrs = y_ptr + (row // rows).to(tl.int64) * ALL_OUT * plane + (row % rows) * out_w + col
        ok = (output < total_outputs) & (col < out_w)
    tl.store(
        y_ptrs[None, :] + (group * C_OUT + first)[:, None] * plane,
        side.to(y_ptr.dtype.element_ty),
        mask=ok[None, :] & (first < C_OUT)[:, None],
    )


@triton.jit
def store_residues(
    y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, offs_n, n_ok, out_d, out_h, out_w, plane,
    ALL_OUT: tl.constexpr, C_OUT: tl.constexpr, RES_D: tl.constexpr, RES_H: tl.constexpr, RES_W: tl.constexpr,
    SPAN: tl.constexpr, HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, SWAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Store the residues of a strided transposed problem, and the bias where an output has no taps."""
    GAP_D: tl.constexpr = RES_D.gap
    GAP_H: tl.constexpr = RES_H.gap
    GAP_W: tl.constexpr = RES_W.gap
    if CHANNELS_LAST:
        position = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
        channel = offs_n % C_OUT
        rest = offs_n // C_OUT
        live_w = rest % SPAN
        r_w = live_w * RES_W.gap
        r_h = rest // SPAN % RES_H.live * RES_H.gap
        r_d = rest // (SPAN * RES_H.live) * RES_D.gap
        o_w = position % num_w * (RES_W.live * RES_W.gap)
        o_h = position // num_w % num_h * (RES_H.live * RES_H.gap)
        o_d = position // (num_w * num_h) % num_d * (RES_D.live * RES_D.gap)
        sample = position // (num_w * num_h * num_d)
        n_ok = n_ok & (live_w < RES_W.live)
        y_ptrs = y_ptr + (sample.to(tl.int64) * plane + ((o_d * out_h + o_h) * out_w + o_w)) * ALL_OUT
        hop = ((r_d * out_h + r_h) * out_w + r_w) * ALL_OUT + group * C_OUT + channel
        empty = _biases(b_ptr, acc, group * C_OUT + channel, n_ok, C, HAS_BIAS)
        for e_d in tl.static_range(GAP_D):
            for e_h in tl.static_range(GAP_H):
                for e_w in tl.static_range(GAP_W):
                    ok = (
                        place(position < total, M)
                        & place(n_ok, C)
                        & (place(o_w, M) + place(r_w + e_w, C) < out_w)
                    )
                    ok = ok & (place(o_h, M) + place(r_h + e_h, C) < out_h)
                    ok = ok & (place(o_d, M) + place(r_d + e_d, C) < out_d)
                    y_tile = place(y_ptrs + ((e_d * out_h + e_h) * out_w + e_w) * ALL_OUT, M) + place(hop, C)
                    if e_d == RES_D.first and e_h == RES_H.first and e_w == RES_W.first:
                        tl.store(y_tile, acc.to(y_ptr.dtype.element_ty), mask=ok)
                    else:
                        tl.store(y_tile, empty.to(y_ptr.dtype.element_ty), mask=ok)
    else:
        WIDE: tl.constexpr = SPAN * RES_W.gap
        PERIOD: tl.constexpr = RES_W.live * RES_W.gap
        side = _side_by_side(acc, SPAN, SWAP, BLOCK_M, BLOCK_N)
        line = column // SPAN + tl.arange(0, BLOCK_N // SPAN)
        r_h = line % RES_H.live * RES_H.gap
        r_d = line // RES_H.live % RES_D.live * RES_D.gap
        channel = line // (RES_H.live * RES_D.live)
        empty = _biases(b_ptr, side, group * C_OUT + channel, channel < C_OUT, 0, HAS_BIAS)
        spot = tile_m * (BLOCK_M * WIDE) + tl.arange(0, BLOCK_M * WIDE)
        row = spot // (num_w * WIDE)
        along = spot % (num_w * WIDE)
        ok = spot < total * WIDE
        if WIDE == PERIOD:
            o_w = along
        else:
            o_w = along // WIDE * PERIOD + along % WIDE
            ok = ok & (along % WIDE < PERIOD)
            o_w = tl.max_contiguous(o_w, WIDE)  # true, and not to be seen
        o_h = row % num_h * (RES_H.live * RES_H.gap)
        o_d = row // num_h % num_d * (RES_D.live * RES_D.gap)
        sample = row // (num_h * num_d)
        ok = (ok & (o_w < out_w))[None, :] & (channel < C_OUT)[:, None]
        y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * plane + ((o_d * out_h + o_h) * out_w + o_w)
        hop = (group * C_OUT + channel) * plane + (r_d * out_h + r_h) * out_w
        full = _spread(side, empty, RES_W)
        blank = _spread(empty, empty, RES_W)
        for e_d in tl.static_range(GAP_D):
            for e_h in tl.static_range(GAP_H):
                in_h = o_h[None, :] + (r_h + e_h)[:, None] < out_h
                in_d = o_d[None, :] + (r_d + e_d)[:, None] < out_d
                y_tile = y_ptrs[None, :] + (hop + (e_d * out_h + e_h) * out_w)[:, None]
                if e_d == RES_D.first and e_h == RES_H.first:
                    tl.store(y_tile, full.to(y_ptr.dtype.element_ty), mask=ok & in_h & in_d)
                else:
                    tl.store(y_tile, blank.to(y_ptr.dtype.element_ty), mask=ok & in_h & in_d)


@triton.jit
def _side_by_side(acc, SPAN: tl.constexpr, SWAP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return [lines, positions * SPAN] of a tile whose columns are (line, output of a position)."""
    if not SWAP:
        acc = tl.trans(acc)
    side = tl.reshape(acc, (BLOCK_N // SPAN, SPAN, BLOCK_M))
    return tl.reshape(tl.permute(side, (0, 2, 1)), (BLOCK_N // SPAN, BLOCK_M * SPAN))


@triton.jit
def _biases(b_ptr, like, channel, ok, AXIS: tl.constexpr, HAS_BIAS: tl.constexpr):
    """Return the bias of every channel in a tile of the shape of `like`, or zeros."""
    tile = tl.zeros_like(like)
    if HAS_BIAS:
        tile += place(tl.load(b_ptr + channel, mask=ok, other=0.0).to(tl.float32), AXIS)
    return tile


@triton.jit
def _spread(live, empty, RES: tl.constexpr):
    """Return the live outputs of rows with `gap - 1` empty ones around each: its neighbours of a residue."""
    tile = live
    if RES.gap == 2:
        if RES.first == 0:
            tile = tl.join(live, empty)
        else:
            tile = tl.join(empty, live)
    elif RES.gap == 4:
        # The first join tells places 0 and 2, or 1 and 3, apart; the second the even from the odd.
        if RES.first // 2 == 0:
            tile = tl.join(live, empty)
        else:
            tile = tl.join(empty, live)
        if RES.first % 2 == 0:
            tile = tl.join(tile, tl.join(empty, empty))
        else:
            tile = tl.join(tl.join(empty, empty), tile)
    if RES.gap > 1:
        tile = tl.reshape(tile, (live.shape[0], live.shape[1] * RES.gap))
    return tile
