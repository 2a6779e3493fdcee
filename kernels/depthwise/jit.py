"""The GPU code of depthwise: each thread keeps a window of inputs and its sums in registers."""

import triton
import triton.language as tl
from tunedb.kernels.shared.compensated_sum import add_compensated
from tunedb.kernels.shared.geometry import first_tap
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.tiles import divisor, place
from tunedb.kernels.shared.window import load_row, store_row

__all__ = ["depthwise"]


@triton.jit
def depthwise(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,  # noqa: ARG001 (the grid has counted the samples)
    PROBLEM: tl.constexpr, CONFIG: tl.constexpr, TABLES: tl.constexpr,
):  # fmt: skip
    """x: [n, C_IN, in_d, in_h, in_w] in either layout; w: [taps, C_OUT], C_OUT a multiple of C_IN."""
    C_IN: tl.constexpr = PROBLEM.groups  # every group has one input channel
    C_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    AXIS_D: tl.constexpr = PROBLEM.axis_d
    AXIS_H: tl.constexpr = PROBLEM.axis_h
    AXIS_W: tl.constexpr = PROBLEM.axis_w
    BLOCK_C: tl.constexpr = CONFIG.BLOCK_C
    LANES: tl.constexpr = TABLES.lanes
    CHANNELS_LAST: tl.constexpr = PROBLEM.channels_last
    HEIGHT: tl.constexpr = len(TABLES.rows.taps)  # outputs of a thread: HEIGHT rows of WIDTH columns
    WIDTH: tl.constexpr = len(TABLES.columns.taps)
    NUM_C: tl.constexpr = (C_OUT + BLOCK_C - 1) // BLOCK_C
    # The axis along which columns (W) and channels (C) lie in a tile: the one that is contiguous in memory is last.
    W: tl.constexpr = 0 if CHANNELS_LAST else 1
    C: tl.constexpr = 1 if CHANNELS_LAST else 0
    # Changes nothing, but tells Triton how far rows are aligned: copies can be wider.
    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    out_w = out_w // PROBLEM.even_out * PROBLEM.even_out
    num_w = tl.cdiv(out_w, LANES * WIDTH)
    num_h = tl.cdiv(out_h, HEIGHT)
    # Programs are numbered in the order of memory: those that run at the same time share input rows in L2.
    rest = tl.program_id(0)
    if CHANNELS_LAST:
        pid_c = rest % NUM_C
        rest = rest // NUM_C
    pid_w = rest % num_w
    rest = rest // num_w
    pid_h = rest % num_h
    rest = rest // num_h
    o_d = rest % out_d
    sample = rest // out_d
    if not CHANNELS_LAST:
        pid_c = sample % NUM_C
        sample = sample // NUM_C
    if PROBLEM.large:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)

    c_out = pid_c * BLOCK_C + tl.arange(0, BLOCK_C)
    c_tile = place(c_out, C)
    c_ok = c_tile < C_OUT
    if C_OUT == C_IN:
        c_in = c_out
    else:
        c_in = (pid_c * BLOCK_C + divisible_range(BLOCK_C)) // (C_OUT // C_IN)
    j_w = pid_w * LANES + tl.arange(0, LANES)
    if PROBLEM.large:
        j_w = j_w.to(tl.int64)
    col = place(j_w * (CONFIG.COLS * AXIS_W.step), W)
    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    STRIDE_XS: tl.constexpr = C_IN if CHANNELS_LAST else 1  # between neighbours in width
    x_ptrs = x_ptr + sample.to(tl.int64) * C_IN * plane + (place(c_in * stride_xc, C) + col * STRIDE_XS)

    if CHANNELS_LAST:
        zero = tl.zeros((LANES, BLOCK_C), dtype=tl.float32)
        # As a full tile of addresses each thread loads the weights of its own channels. A vector of channels would get another
        # layout, and its values would have to be moved between threads.
        c_tile += tl.zeros((LANES, BLOCK_C), dtype=tl.int32)
    else:
        zero = tl.zeros((BLOCK_C, LANES), dtype=tl.float32)
    if PROBLEM.has_bias:
        zero += tl.load(b_ptr + c_tile, mask=c_ok, other=0.0).to(tl.float32)
    acc = ()
    for _ in tl.static_range(HEIGHT * WIDTH):
        acc += (zero,)
    for _ in tl.static_range(HEIGHT * WIDTH if CONFIG.COMPENSATED else 0):
        acc += (tl.zeros_like(zero),)

    k0_d, count_d, start_d = first_tap(o_d % AXIS_D.residues, AXIS_D)
    i_d = start_d + o_d // AXIS_D.residues * AXIS_D.step
    if TABLES.rolled:  # a program has one row, and loops over the taps of that row's residue
        k0_h, count_h, start_h = first_tap(pid_h % AXIS_H.residues, AXIS_H)
        i_h = start_h + pid_h // AXIS_H.residues * AXIS_H.step
    else:  # TABLES.rows lists all taps of all rows of the program
        k0_h, count_h = 0, 1
        i_h = pid_h * (CONFIG.BLOCK_R * AXIS_H.step)
    if TABLES.rolled or AXIS_D.taps > 1 or AXIS_D.residues > 1:
        taps_h = divisor(count_h)
        for tap in range(count_d * count_h):
            t_d = tap // taps_h
            t_h = tap % taps_h
            k = (k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop
            acc = _add_plane(
                acc, x_ptrs, w_ptr + k * AXIS_W.taps * C_OUT, c_tile, c_ok, col,
                i_d + t_d * AXIS_D.reach, i_h + t_h * AXIS_H.reach, in_d, in_h, in_w, PROBLEM, CONFIG, TABLES,
            )  # fmt: skip
    else:
        acc = _add_plane(
            acc, x_ptrs, w_ptr, c_tile, c_ok, col, i_d, i_h, in_d, in_h, in_w, PROBLEM, CONFIG, TABLES
        )

    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    STRIDE_YS: tl.constexpr = C_OUT if CHANNELS_LAST else 1
    o_w = place(j_w * WIDTH, W)
    y_ptrs = y_ptr + sample.to(tl.int64) * C_OUT * out_plane + (c_tile * stride_yc + o_w * STRIDE_YS)
    for r in tl.static_range(HEIGHT):
        o_h = pid_h * HEIGHT + r
        ok = c_ok & (o_h < out_h)
        store_row(y_ptrs + (o_d * out_h + o_h) * out_w * STRIDE_YS, o_w, ok, out_w, acc, r, STRIDE_YS, WIDTH)


@triton.jit
def _add_plane(
    acc, x_ptrs, w_ptr, c_tile, c_ok, col, i_d, i_h, in_d, in_h, in_w,
    PROBLEM: tl.constexpr, CONFIG: tl.constexpr, TABLES: tl.constexpr,
):  # fmt: skip
    """Add the taps of one input plane to the outputs; each input row is loaded once.

    acc: HEIGHT * WIDTH sums; with COMPENSATED as many excesses behind them (compensated_sum.add_compensated), and the products
    of one input row are summed by themselves before they are added.
    """
    ROWS: tl.constexpr = TABLES.rows
    COLUMNS: tl.constexpr = TABLES.columns
    COMPENSATED: tl.constexpr = CONFIG.COMPENSATED
    C_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    STRIDE_XS: tl.constexpr = PROBLEM.groups if PROBLEM.channels_last else 1  # between neighbours in width
    TAPS: tl.constexpr = (1 if TABLES.rolled else PROBLEM.axis_h.taps) * PROBLEM.axis_w.taps
    weights = ()
    for k in tl.static_range(TAPS):
        weights += (tl.load(w_ptr + k * C_OUT + c_tile, mask=c_ok, other=0.0).to(tl.float32),)
    LOADED: tl.constexpr = COLUMNS.size * len(COLUMNS.vectors)  # columns of a row
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    COUNT: tl.constexpr = len(ROWS.taps) * WIDTH
    plane_ok = (i_d >= 0) & (i_d < in_d)
    window = ()
    sums = ()
    excesses = ()
    for r in tl.static_range(len(ROWS.taps)):
        for f in tl.static_range(len(ROWS.fresh[r])):
            row = i_h + ROWS.fresh[r][f]
            ok = c_ok & (plane_ok & (row >= 0) & (row < in_h))
            window += load_row(
                x_ptrs + (i_d * in_h + row) * in_w * STRIDE_XS, col, ok, in_w, STRIDE_XS, COLUMNS
            )
        for v in tl.static_range(WIDTH):
            total = acc[r * WIDTH + v]
            if COMPENSATED:
                excess = acc[COUNT + r * WIDTH + v]
            for t in tl.static_range(len(ROWS.taps[r])):
                if COMPENSATED:
                    whole = total
                    total = tl.zeros_like(whole)
                for s in tl.static_range(len(COLUMNS.taps[v])):
                    x = window[ROWS.taps[r][t][1] * LOADED + COLUMNS.taps[v][s][1]]
                    total += (
                        x.to(tl.float32) * weights[ROWS.taps[r][t][0] * COLUMNS.count + COLUMNS.taps[v][s][0]]
                    )
                if COMPENSATED:
                    total, excess = add_compensated(whole, excess, total)
            sums += (total,)
            if COMPENSATED:
                excesses += (excess,)
    return sums + excesses
