"""The device code of packed: a matrix product over the runs of a packed input."""

import triton
import triton.language as tl
from tunedb.kernels.packed.store import store_columns, store_residue_columns, store_spans
from tunedb.kernels.shared.packing import packed_length, packed_strides, positions
from tunedb.kernels.shared.precision import accumulator, operand, product
from tunedb.kernels.shared.tiles import place, tile_at

__all__ = ["packed"]


@triton.jit
def packed(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: tl.constexpr, PACKING: tl.constexpr, SHAPE: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Multiply the windows of x, as repack packs it, with w, [groups * columns, runs, window_row].

    w: see weights.window_major and weights.residue_major; PROBLEM: geometry.Constants; PACKING: packing.Packing;
    SHAPE: shape.Shape; CONFIG: launch.Config.
    """
    # A field of a NamedTuple is a plain value, which Triton takes neither inside a shape nor, if a string, as an argument.
    # These have names, as constexprs.
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    BLOCK_K: tl.constexpr = CONFIG.BLOCK_K
    ORDER: tl.constexpr = CONFIG.ORDER
    DOT: tl.constexpr = CONFIG.DOT
    IN_LOOP: tl.constexpr = "ieee" if CONFIG.REPACK else CONFIG.DOT  # repack has rounded x already
    COLUMNS: tl.constexpr = PROBLEM.c_out * PACKING.residues[0].live * PACKING.residues[1].live * CONFIG.SPAN
    NUM_N: tl.constexpr = (COLUMNS + CONFIG.BLOCK_N - 1) // CONFIG.BLOCK_N
    # A BLOCK_N of three times a power of two is two tiles of columns, with the same positions.
    MAIN: tl.constexpr = CONFIG.BLOCK_N if CONFIG.BLOCK_N % 3 else CONFIG.BLOCK_N // 3 * 2
    REST: tl.constexpr = CONFIG.BLOCK_N - MAIN
    W_ROW: tl.constexpr = SHAPE.runs * SHAPE.window_row
    M: tl.constexpr = 1 if CONFIG.SWAP else 0  # the axis of positions in an accumulator
    C: tl.constexpr = 0 if CONFIG.SWAP else 1  # the axis of columns
    # Triton cannot see this divisor of a row's length. It allows wider stores.
    out_w = out_w // PROBLEM.even_out * PROBLEM.even_out
    num_d = positions(out_d, PACKING, 0)
    num_h = positions(out_h, PACKING, 1)
    num_w = positions(out_w, PACKING, 2)
    total = n * num_d * num_h * num_w
    pid_m, pid_n, group = tile_at(
        tl.program_id(0), tl.cdiv(tl.cdiv(total, BLOCK_M), CONFIG.TILES), NUM_N, ORDER
    )
    if CONFIG.REPACK:
        len_d = packed_length(num_d, PACKING, 0)
        len_h = packed_length(num_h, PACKING, 1)
        len_w = packed_length(num_w, PACKING, 2)
    else:
        len_d = in_d
        len_h = in_h
        len_w = in_w
    stride_d, stride_h, stride_w, stride_n = packed_strides(len_d, len_h, len_w, PACKING)
    offs_k = tl.arange(0, BLOCK_K)
    column = pid_n * CONFIG.BLOCK_N
    w_ptrs = w_ptr + group * (COLUMNS * W_ROW)
    w_tile, w_ok = _rows(w_ptrs, column, offs_k, COLUMNS, W_ROW, MAIN, M, C)
    if REST:
        w_rest, rest_ok = _rows(w_ptrs, column + MAIN, offs_k, COLUMNS, W_ROW, REST, M, C)
    plane = out_d * out_h * out_w // SHAPE.even_plane * SHAPE.even_plane
    if PROBLEM.large:
        plane = plane.to(tl.int64)
    # Both are total * SPAN. From n * plane Triton infers a divisor as well, so that whole vectors of a store share one mask.
    if (CONFIG.SPAN == 1 or SHAPE.whole) and not PACKING.strided:
        total_outputs = n * plane
    else:
        total_outputs = total * CONFIG.SPAN
    # One flattened loop over tiles and steps: the copies of the next tile are under way while a tile is stored.
    for tile in tl.range(0, CONFIG.TILES, flatten=True):
        tile_m = pid_m * CONFIG.TILES + tile
        # Beyond the end the last window is read again, which needs no mask. It is not stored.
        position = tl.minimum(tile_m * BLOCK_M + tl.arange(0, BLOCK_M), total - 1)
        o_w = position % num_w
        o_h = position // num_w % num_h
        o_d = position // (num_w * num_h) % num_d
        sample = position // (num_w * num_h * num_d)
        x_ptrs = x_ptr + (group.to(tl.int64) * n + sample) * stride_n  # [BLOCK_M]
        x_ptrs += o_d * (PACKING.depth.step * PACKING.wide[0] * stride_d)
        x_ptrs += o_h * (PACKING.height.step * PACKING.wide[1] * stride_h)
        x_ptrs += o_w * (PACKING.width.step * PACKING.wide[2] * stride_w)
        x_tile = place(x_ptrs, M) + place(offs_k, C)
        acc = accumulator(BLOCK_M, MAIN, CONFIG.SWAP)
        if REST:
            acc_rest = accumulator(BLOCK_M, REST, CONFIG.SWAP)
        BLOCKS: tl.constexpr = (SHAPE.run + BLOCK_K - 1) // BLOCK_K
        for step in range(SHAPE.runs * BLOCKS):
            run = step // BLOCKS
            k = step % BLOCKS * BLOCK_K
            x_hop = _run_offset(run, stride_d, stride_h, stride_w, PACKING) + k
            w_hop = run * SHAPE.window_row + k
            if SHAPE.run % BLOCK_K:
                k_ok = k + offs_k < SHAPE.run
                x = tl.load(x_tile + x_hop, mask=place(k_ok, C), other=0.0)
                weight = tl.load(w_tile + w_hop, mask=w_ok & place(k_ok, M), other=0.0)
            else:
                x = tl.load(x_tile + x_hop)
                weight = tl.load(w_tile + w_hop, mask=w_ok, other=0.0)
            x = operand(x, IN_LOOP)
            acc = product(x, weight, acc, CONFIG.SWAP, DOT)
            if REST:
                if SHAPE.run % BLOCK_K:
                    weight = tl.load(w_rest + w_hop, mask=rest_ok & place(k_ok, M), other=0.0)
                else:
                    weight = tl.load(w_rest + w_hop, mask=rest_ok, other=0.0)
                acc_rest = product(x, weight, acc_rest, CONFIG.SWAP, DOT)
        _store(
            y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane, total_outputs,
            MAIN, PROBLEM, PACKING, SHAPE, CONFIG,
        )  # fmt: skip
        if REST:
            _store(
                y_ptr, b_ptr, acc_rest, tile_m, column + MAIN, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane,
                total_outputs, REST, PROBLEM, PACKING, SHAPE, CONFIG,
            )  # fmt: skip


@triton.jit
def _rows(
    w_ptrs, column, offs_k,
    COLUMNS: tl.constexpr, ROW: tl.constexpr, SIZE: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Return the pointers to the weights of SIZE columns from `column` on, and a mask of the columns that exist."""
    offs_n = column + tl.arange(0, SIZE)
    return place(w_ptrs + offs_n * ROW, C) + place(offs_k, M), place(offs_n < COLUMNS, C)


@triton.jit
def _store(
    y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, out_d, out_h, out_w, plane, total_outputs,
    BLOCK_N: tl.constexpr, PROBLEM: tl.constexpr, PACKING: tl.constexpr, SHAPE: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Add the bias to a tile of BLOCK_N columns from `column` on, and store it."""
    C: tl.constexpr = 0 if CONFIG.SWAP else 1
    C_OUT: tl.constexpr = PROBLEM.c_out
    SPAN: tl.constexpr = CONFIG.SPAN
    # Residues of depth and height: 1 each unless the problem is strided and transposed.
    LIVE_D: tl.constexpr = PACKING.residues[0].live
    LIVE_H: tl.constexpr = PACKING.residues[1].live
    offs_n = column + tl.arange(0, BLOCK_N)
    n_ok = offs_n < C_OUT * LIVE_D * LIVE_H * SPAN
    # Columns are (output of the span, channel) in channels_last, (channel, output of the span) in channels_first: the
    # order of memory in both.
    if PROBLEM.channels_last:
        channel = offs_n % C_OUT
        along = offs_n // C_OUT
    else:
        channel = offs_n // (SPAN * LIVE_D * LIVE_H)
        along = offs_n % SPAN
    if PROBLEM.has_bias:
        acc += place(tl.load(b_ptr + group * C_OUT + channel, mask=n_ok, other=0.0).to(tl.float32), C)
    if PACKING.strided:
        store_residue_columns(
            y_ptr, b_ptr, acc, tile_m, column, group, total, num_d, num_h, num_w, offs_n, n_ok, out_d, out_h, out_w, plane,
            BLOCK_N, PROBLEM, PACKING, CONFIG,
        )  # fmt: skip
    elif PROBLEM.channels_last or SPAN == 1 or PACKING.inner != 2:
        store_columns(
            y_ptr, acc, tile_m, total_outputs if SPAN == 1 else total, num_d, num_h, num_w, group * C_OUT + channel, along,
            offs_n, n_ok, out_d, out_h, out_w, plane, PROBLEM, PACKING, SHAPE, CONFIG,
        )  # fmt: skip
    else:
        store_spans(
            y_ptr, acc, tile_m, column, group, total_outputs, num_d, num_h, num_w, out_w, plane,
            BLOCK_N, PROBLEM, SHAPE, CONFIG,
        )  # fmt: skip


@triton.jit
def _run_offset(run, stride_d, stride_h, stride_w, PACKING: tl.constexpr):
    """Return where a run of the window starts: runs go through the outer axes, then the inner one if it is dilated."""
    SIDE_D: tl.constexpr = PACKING.depth
    SIDE_H: tl.constexpr = PACKING.height
    SIDE_W: tl.constexpr = PACKING.width
    if PACKING.inner == 2:
        ALONG_W: tl.constexpr = 1 if SIDE_W.reach == 1 else SIDE_W.taps
        t_w = run % ALONG_W
        t_h = run // ALONG_W % SIDE_H.taps
        t_d = run // ALONG_W // SIDE_H.taps
    elif PACKING.inner == 1:
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
