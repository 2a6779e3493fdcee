"""How packed stores its sums: as columns, as spans of neighbouring outputs, or as residues of a strided transposed problem.

A tile is positions by columns. In channels_first the outputs of a position are neighbours in memory but its columns are not:
store_spans and store_residue_columns lay them side by side first.
"""

import triton
import triton.language as tl
from tunedb.kernels.shared.tiles import place

__all__ = ["store_columns", "store_residue_columns", "store_spans"]


@triton.jit
def store_columns(
    y_ptr, acc, tile_m, total, num_d, num_h, num_w, c_out, along, column, n_ok, out_d, out_h, out_w, plane,
    PROBLEM: tl.constexpr, PACKING: tl.constexpr, SHAPE: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Store a tile as it is: positions of one output each, or spans of which a column has one output.

    total: positions or, if SPAN is 1, outputs of a channel; c_out, along: the channel of each column and its output of the span.
    """
    M: tl.constexpr = 1 if CONFIG.SWAP else 0
    C: tl.constexpr = 0 if CONFIG.SWAP else 1
    ALL_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    SPAN: tl.constexpr = CONFIG.SPAN
    position = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    ok = place(position < total, M) & place(n_ok, C)
    if SPAN == 1:
        # Positions are outputs, numbered in the order of memory.
        if PROBLEM.channels_last:
            y_ptrs = place(y_ptr + position.to(tl.int64) * ALL_OUT, M) + place(c_out, C)
        else:
            y_ptrs = y_ptr + (position // plane).to(tl.int64) * ALL_OUT * plane + position % plane
            y_ptrs = place(y_ptrs, M) + place(c_out * plane, C)
    else:
        o_w = position % num_w
        o_h = position // num_w % num_h
        o_d = position // (num_w * num_h) % num_d
        sample = position // (num_w * num_h * num_d)
        if PACKING.inner == 0:
            o_d = o_d * SPAN
            inside = place(o_d, M) + place(along, C) < out_d
            hop = along * (out_h * out_w)
        elif PACKING.inner == 1:
            o_h = o_h * SPAN
            inside = place(o_h, M) + place(along, C) < out_h
            hop = along * out_w
        else:
            o_w = o_w * SPAN
            inside = place(o_w, M) + place(along, C) < out_w
            hop = along
        if not SHAPE.whole:
            ok = ok & inside
        output = (o_d * out_h + o_h) * out_w + o_w
        if PROBLEM.channels_last:
            y_ptrs = y_ptr + (sample.to(tl.int64) * plane + output) * ALL_OUT
            if PACKING.inner == 2 and PROBLEM.groups == 1:
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
    BLOCK_N: tl.constexpr, PROBLEM: tl.constexpr, SHAPE: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Store a channels_first tile whose BLOCK_N columns, from `column` on, are (channel, output of a span along the width)."""
    C_OUT: tl.constexpr = PROBLEM.c_out
    ALL_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    SPAN: tl.constexpr = CONFIG.SPAN
    side = _side_by_side(acc, BLOCK_N, CONFIG)
    channel = column // SPAN + tl.arange(0, BLOCK_N // SPAN)
    # Outputs of a channel, counted with those that make up the last span of a row.
    output = tile_m * (BLOCK_M * SPAN) + tl.arange(0, BLOCK_M * SPAN)
    if SHAPE.whole:
        y_ptrs = y_ptr + (output // plane).to(tl.int64) * ALL_OUT * plane + output % plane
        ok = output < total_outputs
    else:
        row = output // (num_w * SPAN)
        col = output % (num_w * SPAN)
        rows = num_d * num_h
        y_ptrs = y_ptr + (row // rows).to(tl.int64) * ALL_OUT * plane + (row % rows) * out_w + col
        ok = (output < total_outputs) & (col < out_w)
    tl.store(
        y_ptrs[None, :] + (group * C_OUT + channel)[:, None] * plane,
        side.to(y_ptr.dtype.element_ty),
        mask=ok[None, :] & (channel < C_OUT)[:, None],
    )


@triton.jit
def store_residue_columns(
    y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, offs_n, n_ok, out_d, out_h, out_w, plane,
    BLOCK_N: tl.constexpr, PROBLEM: tl.constexpr, PACKING: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Store a tile of BLOCK_N columns, from `column` on, that are the live residues of all three axes by channels.

    Outputs of the other residues have no taps. They are stored as the bias, next to the live residue whose gap they fill.
    (In kn2row.store.store_width_residues a tile has residues of the width only.)
    """
    M: tl.constexpr = 1 if CONFIG.SWAP else 0
    C: tl.constexpr = 0 if CONFIG.SWAP else 1
    C_OUT: tl.constexpr = PROBLEM.c_out
    ALL_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    SPAN: tl.constexpr = CONFIG.SPAN
    RES_D: tl.constexpr = PACKING.residues[0]
    RES_H: tl.constexpr = PACKING.residues[1]
    RES_W: tl.constexpr = PACKING.residues[2]
    GAP_D: tl.constexpr = RES_D.gap
    GAP_H: tl.constexpr = RES_H.gap
    GAP_W: tl.constexpr = RES_W.gap
    if PROBLEM.channels_last:
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
        # r_*: the first residue of a column's gap; e_*: one of the gap, which has taps if it is RES.first.
        empty = _biases(b_ptr, acc, group * C_OUT + channel, n_ok, C, PROBLEM)
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
        side = _side_by_side(acc, BLOCK_N, CONFIG)
        # A line is a channel's live residue of depth and height.
        line = column // SPAN + tl.arange(0, BLOCK_N // SPAN)
        r_h = line % RES_H.live * RES_H.gap
        r_d = line // RES_H.live % RES_D.live * RES_D.gap
        channel = line // (RES_H.live * RES_D.live)
        empty = _biases(b_ptr, side, group * C_OUT + channel, channel < C_OUT, 0, PROBLEM)
        output = tile_m * (BLOCK_M * WIDE) + tl.arange(0, BLOCK_M * WIDE)  # of a line, WIDE for each position
        row = output // (num_w * WIDE)
        along = output % (num_w * WIDE)
        ok = output < total * WIDE
        if WIDE == PERIOD:
            o_w = along
        else:
            o_w = along // WIDE * PERIOD + along % WIDE
            ok = ok & (along % WIDE < PERIOD)
            o_w = tl.max_contiguous(o_w, WIDE)  # holds, but Triton cannot infer it through %
        o_h = row % num_h * (RES_H.live * RES_H.gap)
        o_d = row // num_h % num_d * (RES_D.live * RES_D.gap)
        sample = row // (num_h * num_d)
        ok = (ok & (o_w < out_w))[None, :] & (channel < C_OUT)[:, None]
        y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * plane + ((o_d * out_h + o_h) * out_w + o_w)
        hop = (group * C_OUT + channel) * plane + (r_d * out_h + r_h) * out_w
        filled = _fill_gaps(side, empty, RES_W)
        blank = _fill_gaps(empty, empty, RES_W)
        for e_d in tl.static_range(GAP_D):
            for e_h in tl.static_range(GAP_H):
                in_h = o_h[None, :] + (r_h + e_h)[:, None] < out_h
                in_d = o_d[None, :] + (r_d + e_d)[:, None] < out_d
                y_tile = y_ptrs[None, :] + (hop + (e_d * out_h + e_h) * out_w)[:, None]
                if e_d == RES_D.first and e_h == RES_H.first:
                    tl.store(y_tile, filled.to(y_ptr.dtype.element_ty), mask=ok & in_h & in_d)
                else:
                    tl.store(y_tile, blank.to(y_ptr.dtype.element_ty), mask=ok & in_h & in_d)


@triton.jit
def _side_by_side(acc, BLOCK_N: tl.constexpr, CONFIG: tl.constexpr):
    """Return [lines, positions * SPAN] of a tile whose columns are (line, output of a position)."""
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    SPAN: tl.constexpr = CONFIG.SPAN
    if not CONFIG.SWAP:
        acc = tl.trans(acc)
    side = tl.reshape(acc, (BLOCK_N // SPAN, SPAN, BLOCK_M))
    return tl.reshape(tl.permute(side, (0, 2, 1)), (BLOCK_N // SPAN, BLOCK_M * SPAN))


@triton.jit
def _biases(b_ptr, like, channel, ok, AXIS: tl.constexpr, PROBLEM: tl.constexpr):
    """Return the bias of every channel, which lie along axis AXIS, in a tile of the shape of `like`; zeros without a bias."""
    tile = tl.zeros_like(like)
    if PROBLEM.has_bias:
        tile += place(tl.load(b_ptr + channel, mask=ok, other=0.0).to(tl.float32), AXIS)
    return tile


@triton.jit
def _fill_gaps(live, empty, RESIDUES: tl.constexpr):
    """Return rows in which each live residue has the gap - 1 residues without taps beside it, in the order of memory.

    gap 4, first 1:   | empty live empty empty | empty live empty empty | ...
    """
    tile = live
    if RESIDUES.gap == 2:
        if RESIDUES.first == 0:
            tile = tl.join(live, empty)
        else:
            tile = tl.join(empty, live)
    elif RESIDUES.gap == 4:
        # The second join interleaves even and odd residues; the first makes (0, 2) or (1, 3), the pair with the live one.
        if RESIDUES.first // 2 == 0:
            tile = tl.join(live, empty)
        else:
            tile = tl.join(empty, live)
        if RESIDUES.first % 2 == 0:
            tile = tl.join(tile, tl.join(empty, empty))
        else:
            tile = tl.join(tl.join(empty, empty), tile)
    if RESIDUES.gap > 1:
        tile = tl.reshape(tile, (live.shape[0], live.shape[1] * RESIDUES.gap))
    return tile
