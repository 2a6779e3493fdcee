"""The code of kernels/depthwise.py for the GPU: a window of inputs in registers, of every channel by itself."""

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import first_tap
from tunedb.kernels.shared.ptx import divisible_range
from tunedb.kernels.shared.tiles import divisor, place
from tunedb.kernels.shared.window import add_plane, store_row

__all__ = ["depthwise"]


@triton.jit
def depthwise(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,  # noqa: ARG001 (the grid has counted the samples)
    C_IN: tl.constexpr, C_OUT: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ROLLED: tl.constexpr, IN_ALIGN: tl.constexpr, OUT_ALIGN: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    BLOCK_R: tl.constexpr, COLS: tl.constexpr, LANES: tl.constexpr, BLOCK_C: tl.constexpr,
    COMPENSATED: tl.constexpr,
):  # fmt: skip
    """x: [n, C_IN, in_d, in_h, in_w] in either layout; w: [taps, C_OUT], C_OUT a multiple of C_IN."""
    HEIGHT: tl.constexpr = len(ROWS.taps)
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    NUM_C: tl.constexpr = (C_OUT + BLOCK_C - 1) // BLOCK_C
    # Axis of the columns and of the channels in a tile: memory's fastest axis comes last.
    W: tl.constexpr = 0 if CHANNELS_LAST else 1
    C: tl.constexpr = 1 if CHANNELS_LAST else 0
    in_w = in_w // IN_ALIGN * IN_ALIGN  # tells Triton how far rows are aligned
    out_w = out_w // OUT_ALIGN * OUT_ALIGN
    num_w = tl.cdiv(out_w, LANES * WIDTH)
    num_h = tl.cdiv(out_h, HEIGHT)
    # In the order of memory, so that neighbours in time share rows in L2.
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
    if LARGE:
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
    if LARGE:
        j_w = j_w.to(tl.int64)
    col = place(j_w * (COLS * AXIS_W.step), W)
    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    STRIDE_XS: tl.constexpr = C_IN if CHANNELS_LAST else 1  # between neighbours in width
    x_ptrs = x_ptr + sample.to(tl.int64) * C_IN * plane + (place(c_in * stride_xc, C) + col * STRIDE_XS)

    if CHANNELS_LAST:
        zero = tl.zeros((LANES, BLOCK_C), dtype=tl.float32)
        # Every thread loads its own channels' weights: a vector of channels would be handed out differently.
        c_tile += tl.zeros((LANES, BLOCK_C), dtype=tl.int32)
    else:
        zero = tl.zeros((BLOCK_C, LANES), dtype=tl.float32)
    if HAS_BIAS:
        zero += tl.load(b_ptr + c_tile, mask=c_ok, other=0.0).to(tl.float32)
    acc = ()
    for _ in tl.static_range(HEIGHT * WIDTH):
        acc += (zero,)
    for _ in tl.static_range(HEIGHT * WIDTH if COMPENSATED else 0):
        acc += (tl.zeros_like(zero),)

    k0_d, count_d, start_d = first_tap(o_d % AXIS_D.phases, AXIS_D)
    i_d = start_d + o_d // AXIS_D.phases * AXIS_D.step
    if ROLLED:  # a program has one row, whose taps are those of a phase
        k0_h, count_h, start_h = first_tap(pid_h % AXIS_H.phases, AXIS_H)
        i_h = start_h + pid_h // AXIS_H.phases * AXIS_H.step
    else:  # ROWS names all its taps
        k0_h, count_h = 0, 1
        i_h = pid_h * (BLOCK_R * AXIS_H.step)
    TAPS: tl.constexpr = (1 if ROLLED else AXIS_H.taps) * AXIS_W.taps
    if ROLLED or AXIS_D.taps > 1 or AXIS_D.phases > 1:
        taps_h = divisor(count_h)
        for tap in range(count_d * count_h):
            t_d = tap // taps_h
            t_h = tap % taps_h
            k = (k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop
            acc = add_plane(
                acc, x_ptrs, w_ptr + k * AXIS_W.taps * C_OUT, c_tile, c_ok, col, i_d + t_d * AXIS_D.reach,
                i_h + t_h * AXIS_H.reach, in_d, in_h, in_w, STRIDE_XS, C_OUT, TAPS, ROWS, COLUMNS, COMPENSATED,
            )  # fmt: skip
    else:
        acc = add_plane(
            acc, x_ptrs, w_ptr, c_tile, c_ok, col, i_d, i_h, in_d, in_h, in_w,
            STRIDE_XS, C_OUT, TAPS, ROWS, COLUMNS, COMPENSATED,
        )  # fmt: skip

    out_plane = out_d * out_h * out_w
    stride_yc = 1 if CHANNELS_LAST else out_plane
    STRIDE_YS: tl.constexpr = C_OUT if CHANNELS_LAST else 1
    o_w = place(j_w * WIDTH, W)
    y_ptrs = y_ptr + sample.to(tl.int64) * C_OUT * out_plane + (c_tile * stride_yc + o_w * STRIDE_YS)
    for r in tl.static_range(HEIGHT):
        o_h = pid_h * HEIGHT + r
        ok = c_ok & (o_h < out_h)
        store_row(y_ptrs + (o_d * out_h + o_h) * out_w * STRIDE_YS, o_w, ok, out_w, acc, r, STRIDE_YS, WIDTH)
