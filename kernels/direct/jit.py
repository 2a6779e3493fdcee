"""The code of kernels/direct.py for the GPU: columns of a row in registers, for several channels of a group at a time."""

import triton
import triton.language as tl
from tunedb.kernels.shared.compensated_sum import add_compensated
from tunedb.kernels.shared.geometry import first_tap
from tunedb.kernels.shared.tiles import divisor, phase_length
from tunedb.kernels.shared.window import join, load_row, split, store_row

__all__ = ["direct"]


@triton.jit
def direct(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, GROUPS: tl.constexpr, C_ROWS: tl.constexpr, ROW: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, AXIS_W: tl.constexpr, COLUMNS: tl.constexpr,
    EVEN_IN: tl.constexpr, EVEN_OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr, LARGE: tl.constexpr,
    COLS: tl.constexpr, BLOCK_N: tl.constexpr, COMPENSATED: tl.constexpr, TOGETHER: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """x: [n, GROUPS * C_IN, in_d, in_h, in_w] in either layout; w: [GROUPS, taps, C_ROWS, ROW], see weights.column_major."""
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    in_w = in_w // EVEN_IN * EVEN_IN  # tells Triton how far rows are aligned
    out_w = out_w // EVEN_OUT * EVEN_OUT
    num_w = tl.cdiv(out_w, WIDTH)
    # Phases and channels of a place are neighbours in time: they read the same inputs, and fill the same sectors.
    rest = tl.program_id(0)
    phase_h = rest % AXIS_H.phases
    rest = rest // AXIS_H.phases
    phase_d = rest % AXIS_D.phases
    rest = rest // AXIS_D.phases
    pid_n = rest % NUM_N
    rest = rest // NUM_N
    group = rest % GROUPS
    len_d = phase_length(out_d, phase_d, AXIS_D)
    len_h = phase_length(out_h, phase_h, AXIS_H)
    # A thread has WIDTH neighbouring outputs of one row; threads go through the rows of a phase.
    spot = rest // GROUPS * LANES + tl.arange(0, LANES)[None, :]
    j_w = spot % num_w
    rest = spot // num_w
    j_h = rest % divisor(len_h)
    rest = rest // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    real = (sample < n) & (len_d > 0) & (len_h > 0)
    if LARGE:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)

    k0_d, count_d, start_d = first_tap(phase_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(phase_h, AXIS_H)
    plane = in_d * in_h * in_w
    stride_xc = 1 if CHANNELS_LAST else plane
    STRIDE_XS: tl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1  # between neighbours in width
    col = j_w * (COLS * AXIS_W.step)
    x_ptrs = (
        x_ptr + sample.to(tl.int64) * (GROUPS * C_IN) * plane + group * C_IN * stride_xc + col * STRIDE_XS
    )
    w_ptr += group * (AXIS_D.taps * AXIS_H.taps * AXIS_W.taps * C_ROWS * ROW) + pid_n * BLOCK_N

    zero = tl.zeros((1, LANES), dtype=tl.float32)
    acc = ()
    for channel in tl.static_range(BLOCK_N):
        start = zero
        if HAS_BIAS:
            c_out = pid_n * BLOCK_N + channel
            start += tl.load(b_ptr + group * C_OUT + c_out, mask=c_out < C_OUT, other=0.0).to(tl.float32)
        for _ in tl.static_range(WIDTH):
            acc += (start,)
    for _ in tl.static_range(BLOCK_N * WIDTH if COMPENSATED else 0):
        acc += (zero,)
    taps_h = divisor(count_h)
    BLOCKS: tl.constexpr = (C_IN + TOGETHER - 1) // TOGETHER
    for step in range(count_d * count_h * BLOCKS):
        first = step % BLOCKS * TOGETHER
        tap = step // BLOCKS
        t_h = tap % taps_h
        t_d = tap // taps_h
        i_d = start_d + j_d * AXIS_D.step + t_d * AXIS_D.reach
        i_h = start_h + j_h * AXIS_H.step + t_h * AXIS_H.reach
        ok = real & (i_d >= 0) & (i_d < in_d) & (i_h >= 0) & (i_h < in_h)
        k = ((k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop) * AXIS_W.taps
        acc = _add_channels(
            acc, zero, x_ptrs + (i_d * in_h + i_h) * in_w * STRIDE_XS + first * stride_xc, stride_xc, first, col, ok, in_w,
            w_ptr + (k * C_ROWS + first) * ROW, C_IN, C_ROWS, ROW, STRIDE_XS, COLUMNS, CHANNELS_LAST, BLOCK_N, COMPENSATED, TOGETHER,
        )  # fmt: skip

    out_plane = out_d * out_h * out_w
    o_d = phase_d + j_d * AXIS_D.phases
    o_h = phase_h + j_h * AXIS_H.phases
    o_w = j_w * WIDTH
    c_out = group * C_OUT + pid_n * BLOCK_N
    y_ptrs = y_ptr + sample.to(tl.int64) * (GROUPS * C_OUT) * out_plane
    if CHANNELS_LAST:
        y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * (GROUPS * C_OUT) + c_out
        _store_pixels(y_ptrs, real, o_w, out_w, acc, C_OUT - pid_n * BLOCK_N, GROUPS * C_OUT, WIDTH, BLOCK_N)
    else:
        y_ptrs += c_out * out_plane + ((o_d * out_h + o_h) * out_w + o_w)
        for channel in tl.static_range(BLOCK_N):
            ok = real & (pid_n * BLOCK_N + channel < C_OUT)
            store_row(y_ptrs + channel * out_plane, o_w, ok, out_w, acc, channel, 1, WIDTH)


@triton.jit
def _add_channels(
    acc, zero, x_ptrs, stride_xc, first, col, ok, in_w, w_ptr,
    C_IN: tl.constexpr, C_ROWS: tl.constexpr, ROW: tl.constexpr, STRIDE_XS: tl.constexpr,
    COLUMNS: tl.constexpr, CHANNELS_LAST: tl.constexpr, BLOCK_N: tl.constexpr,
    COMPENSATED: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """Add the taps of one input row of up to TOGETHER channels to the outputs.

    Their products are summed by themselves first: rounding grows with the length of a sum, and torch sums in blocks too.
    COMPENSATED: `acc` has an excess for each output behind the outputs.
    """
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    LOADED: tl.constexpr = COLUMNS.size * len(COLUMNS.vectors)  # columns of a row
    COUNT: tl.constexpr = min(TOGETHER, C_IN)
    TAPS: tl.constexpr = COLUMNS.count
    pixels = ()
    if CHANNELS_LAST:
        pixels = _load_pixels(x_ptrs, first, col, ok, in_w, C_IN, STRIDE_XS, COLUMNS, TOGETHER)
    part = ()
    for _ in tl.static_range(BLOCK_N * WIDTH):
        part += (zero,)
    for channel in tl.static_range(COUNT):
        if CHANNELS_LAST:
            window = ()
            for index in tl.static_range(LOADED):
                window += (pixels[index * TOGETHER + channel],)
        else:
            real = ok
            if C_IN % TOGETHER and C_IN > TOGETHER:
                real = ok & (first + channel < C_IN)
            window = load_row(x_ptrs + channel * stride_xc, col, real, in_w, STRIDE_XS, COLUMNS)
        weights = ()  # [taps, BLOCK_N]
        for tap in tl.static_range(TAPS):
            weights += _load_weights(w_ptr + (tap * C_ROWS + channel) * ROW, zero, BLOCK_N)
        sums = ()
        for c_out in tl.static_range(BLOCK_N):
            for v in tl.static_range(WIDTH):
                total = part[c_out * WIDTH + v]
                for s in tl.static_range(len(COLUMNS.taps[v])):
                    x = window[COLUMNS.taps[v][s][1]].to(tl.float32)
                    total += x * weights[COLUMNS.taps[v][s][0] * BLOCK_N + c_out]
                sums += (total,)
        part = sums
    sums = ()
    excesses = ()
    for index in tl.static_range(BLOCK_N * WIDTH):
        if COMPENSATED:
            total, excess = add_compensated(acc[index], acc[BLOCK_N * WIDTH + index], part[index])
            sums += (total,)
            excesses += (excess,)
        else:
            sums += (acc[index] + part[index],)
    return sums + excesses


@triton.jit
def _load_weights(w_ptr, zero, BLOCK_N: tl.constexpr):
    """Return BLOCK_N neighbouring weights, each the same in all threads, loaded four at a time."""
    SIZE: tl.constexpr = min(4, BLOCK_N)
    found = ()
    for index in tl.static_range(BLOCK_N // SIZE):
        if SIZE == 1:
            found += (zero + tl.load(w_ptr).to(tl.float32),)
        else:
            same = tl.zeros((1, zero.shape[1], 1), dtype=tl.int32)
            parts = split(tl.load(w_ptr + index * SIZE + (same + tl.arange(0, SIZE)[None, None, :])), SIZE)
            for place in tl.static_range(SIZE):
                found += (parts[place].to(tl.float32),)
    return found


@triton.jit
def _load_pixels(
    x_ptrs, first, col, ok, in_w, C_IN: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr, TOGETHER: tl.constexpr
):  # fmt: skip
    """Return the columns of a channels_last row that a tile needs, TOGETHER channels of each."""
    found = ()
    for index in tl.static_range(len(COLUMNS.vectors)):
        found += _load_pixel(x_ptrs, first, col, ok, in_w, C_IN, STRIDE, COLUMNS.vectors[index], TOGETHER)
    return found


@triton.jit
def _load_pixel(
    x_ptrs, first, col, ok, in_w, C_IN: tl.constexpr, STRIDE: tl.constexpr, HOP: tl.constexpr, TOGETHER: tl.constexpr
):  # fmt: skip
    offs = tl.arange(0, TOGETHER)[None, None, :]
    real = ok & (col + HOP < in_w) & (col + HOP >= 0)
    real = real[:, :, None]
    if C_IN % TOGETHER:
        real = real & (first + offs < C_IN)
    return split(tl.load((x_ptrs + HOP * STRIDE)[:, :, None] + offs, mask=real, other=0.0), TOGETHER)


@triton.jit
def _store_pixels(
    y_ptrs, real, o_w, out_w, acc, channels, ALL_OUT: tl.constexpr, WIDTH: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Store the outputs of a channels_last row: all channels of a pixel together."""
    offs = tl.arange(0, BLOCK_N)[None, None, :]
    for v in tl.static_range(WIDTH):
        pixel = ()
        for channel in tl.static_range(BLOCK_N):
            pixel += (acc[channel * WIDTH + v].to(y_ptrs.dtype.element_ty),)
        ok = (real & (o_w + v < out_w))[:, :, None] & (offs < channels)
        if BLOCK_N == 1:
            tl.store((y_ptrs + v * ALL_OUT)[:, :, None], pixel[0][:, :, None], mask=ok)
        else:
            tl.store((y_ptrs + v * ALL_OUT)[:, :, None] + offs, join(pixel, BLOCK_N), mask=ok)
