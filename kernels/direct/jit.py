"""The GPU code of direct: a thread multiplies inputs and weights that it keeps in registers, without a matrix unit."""

import triton
import triton.language as tl
from tunedb.kernels.shared.compensated_sum import add_compensated
from tunedb.kernels.shared.geometry import first_tap
from tunedb.kernels.shared.tiles import divisor, residue_length
from tunedb.kernels.shared.window import join, load_row, split, store_row

__all__ = ["direct"]


@triton.jit
def direct(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: tl.constexpr, CONFIG: tl.constexpr, TABLES: tl.constexpr,
):  # fmt: skip
    """x: [n, channels, in_d, in_h, in_w] in either layout; w: [groups, taps, rows, row], see weights.column_major."""
    C_OUT: tl.constexpr = PROBLEM.c_out
    AXIS_D: tl.constexpr = PROBLEM.axis_d
    AXIS_H: tl.constexpr = PROBLEM.axis_h
    AXIS_W: tl.constexpr = PROBLEM.axis_w
    BLOCK_N: tl.constexpr = CONFIG.BLOCK_N
    LANES: tl.constexpr = 32 * CONFIG.num_warps  # threads of a program
    ALL_IN: tl.constexpr = PROBLEM.groups * PROBLEM.c_in
    ALL_OUT: tl.constexpr = PROBLEM.groups * PROBLEM.c_out
    NUM_N: tl.constexpr = (C_OUT + BLOCK_N - 1) // BLOCK_N
    WIDTH: tl.constexpr = len(TABLES.columns.taps)  # outputs of a row that a thread owns
    # Changes nothing, but tells Triton how far rows are aligned: copies can be wider.
    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    out_w = out_w // PROBLEM.even_out * PROBLEM.even_out
    num_w = tl.cdiv(out_w, WIDTH)
    # Residues and blocks of channels vary fastest: such programs run at the same time, read the same inputs and fill the same
    # sectors of the output.
    rest = tl.program_id(0)
    residue_h = rest % AXIS_H.residues
    rest = rest // AXIS_H.residues
    residue_d = rest % AXIS_D.residues
    rest = rest // AXIS_D.residues
    pid_n = rest % NUM_N
    rest = rest // NUM_N
    group = rest % PROBLEM.groups
    len_d = residue_length(out_d, residue_d, AXIS_D)
    len_h = residue_length(out_h, residue_h, AXIS_H)
    # Threads are numbered along the rows of a residue, WIDTH neighbouring outputs of a row each.
    thread = rest // PROBLEM.groups * LANES + tl.arange(0, LANES)[None, :]
    j_w = thread % num_w
    rest = thread // num_w
    j_h = rest % divisor(len_h)
    rest = rest // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    real = (sample < n) & (len_d > 0) & (len_h > 0)
    if PROBLEM.large:
        in_w = in_w.to(tl.int64)  # every offset has it as a factor
        out_w = out_w.to(tl.int64)

    k0_d, count_d, start_d = first_tap(residue_d, AXIS_D)
    k0_h, count_h, start_h = first_tap(residue_h, AXIS_H)
    plane = in_d * in_h * in_w
    stride_xc = 1 if PROBLEM.channels_last else plane
    STRIDE_XS: tl.constexpr = ALL_IN if PROBLEM.channels_last else 1  # between neighbours in width
    col = j_w * (CONFIG.COLS * AXIS_W.step)
    x_ptrs = x_ptr + sample.to(tl.int64) * ALL_IN * plane + group * PROBLEM.c_in * stride_xc + col * STRIDE_XS
    w_ptr += group * (AXIS_D.taps * AXIS_H.taps * AXIS_W.taps * TABLES.rows * TABLES.row) + pid_n * BLOCK_N

    zero = tl.zeros((1, LANES), dtype=tl.float32)
    acc = ()
    for channel in tl.static_range(BLOCK_N):
        start = zero
        if PROBLEM.has_bias:
            c_out = pid_n * BLOCK_N + channel
            start += tl.load(b_ptr + group * C_OUT + c_out, mask=c_out < C_OUT, other=0.0).to(tl.float32)
        for _ in tl.static_range(WIDTH):
            acc += (start,)
    for _ in tl.static_range(BLOCK_N * WIDTH if CONFIG.COMPENSATED else 0):
        acc += (zero,)
    taps_h = divisor(count_h)
    BLOCKS: tl.constexpr = (PROBLEM.c_in + TABLES.together - 1) // TABLES.together
    for step in range(count_d * count_h * BLOCKS):
        first = step % BLOCKS * TABLES.together
        tap = step // BLOCKS
        t_h = tap % taps_h
        t_d = tap // taps_h
        i_d = start_d + j_d * AXIS_D.step + t_d * AXIS_D.reach
        i_h = start_h + j_h * AXIS_H.step + t_h * AXIS_H.reach
        ok = real & (i_d >= 0) & (i_d < in_d) & (i_h >= 0) & (i_h < in_h)
        k = ((k0_d + t_d * AXIS_D.hop) * AXIS_H.taps + k0_h + t_h * AXIS_H.hop) * AXIS_W.taps
        acc = _add_channels(
            acc, zero, x_ptrs + (i_d * in_h + i_h) * in_w * STRIDE_XS + first * stride_xc, stride_xc, first, col, ok, in_w,
            w_ptr + (k * TABLES.rows + first) * TABLES.row, PROBLEM, CONFIG, TABLES,
        )  # fmt: skip

    out_plane = out_d * out_h * out_w
    o_d = residue_d + j_d * AXIS_D.residues
    o_h = residue_h + j_h * AXIS_H.residues
    o_w = j_w * WIDTH
    c_out = group * C_OUT + pid_n * BLOCK_N
    y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * out_plane
    if PROBLEM.channels_last:
        y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * ALL_OUT + c_out
        _store_pixels(y_ptrs, real, o_w, out_w, acc, C_OUT - pid_n * BLOCK_N, ALL_OUT, WIDTH, BLOCK_N)
    else:
        y_ptrs += c_out * out_plane + ((o_d * out_h + o_h) * out_w + o_w)
        for channel in tl.static_range(BLOCK_N):
            ok = real & (pid_n * BLOCK_N + channel < C_OUT)
            store_row(y_ptrs + channel * out_plane, o_w, ok, out_w, acc, channel, 1, WIDTH)


@triton.jit
def _add_channels(
    acc, zero, x_ptrs, stride_xc, first, col, ok, in_w, w_ptr,
    PROBLEM: tl.constexpr, CONFIG: tl.constexpr, TABLES: tl.constexpr,
):  # fmt: skip
    """Add the taps of one input row of up to `together` channels, from `first` on, to the outputs.

    acc: BLOCK_N * WIDTH sums; with COMPENSATED as many excesses behind them (compensated_sum.add_compensated).
    The products of these channels are summed by themselves first and then added: rounding errors grow with the length of a
    sum, and torch sums in blocks too.
    """
    COLUMNS: tl.constexpr = TABLES.columns
    BLOCK_N: tl.constexpr = CONFIG.BLOCK_N
    WIDTH: tl.constexpr = len(COLUMNS.taps)
    LOADED: tl.constexpr = COLUMNS.size * len(COLUMNS.vectors)  # columns of a row
    COUNT: tl.constexpr = min(TABLES.together, PROBLEM.c_in)
    STRIDE_XS: tl.constexpr = PROBLEM.groups * PROBLEM.c_in if PROBLEM.channels_last else 1
    TAPS: tl.constexpr = COLUMNS.count  # tl.static_range takes a name annotated as tl.constexpr, but no field
    pixels = ()
    if PROBLEM.channels_last:
        pixels = _load_pixels(x_ptrs, first, col, ok, in_w, PROBLEM, TABLES)
    part = ()
    for _ in tl.static_range(BLOCK_N * WIDTH):
        part += (zero,)
    for channel in tl.static_range(COUNT):
        if PROBLEM.channels_last:
            window = ()
            for index in tl.static_range(LOADED):
                window += (pixels[index * TABLES.together + channel],)
        else:
            real = ok
            if PROBLEM.c_in % TABLES.together and PROBLEM.c_in > TABLES.together:
                real = ok & (first + channel < PROBLEM.c_in)
            window = load_row(x_ptrs + channel * stride_xc, col, real, in_w, STRIDE_XS, COLUMNS)
        weights = ()  # [taps, BLOCK_N]
        for tap in tl.static_range(TAPS):
            weights += _load_weights(w_ptr + (tap * TABLES.rows + channel) * TABLES.row, zero, BLOCK_N)
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
        if CONFIG.COMPENSATED:
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
            for index_in in tl.static_range(SIZE):
                found += (parts[index_in].to(tl.float32),)
    return found


@triton.jit
def _load_pixels(x_ptrs, first, col, ok, in_w, PROBLEM: tl.constexpr, TABLES: tl.constexpr):
    """Return the columns of a channels_last row that a thread needs, `together` channels of each, as a flat tuple."""
    found = ()
    for index in tl.static_range(len(TABLES.columns.vectors)):
        found += _load_pixel(x_ptrs, first, col, ok, in_w, TABLES.columns.vectors[index], PROBLEM, TABLES)
    return found


@triton.jit
def _load_pixel(
    x_ptrs, first, col, ok, in_w, HOP: tl.constexpr, PROBLEM: tl.constexpr, TABLES: tl.constexpr
):  # fmt: skip
    """Return `together` channels of the column HOP behind a thread's first, zero outside the input."""
    offs = tl.arange(0, TABLES.together)[None, None, :]
    real = ok & (col + HOP < in_w) & (col + HOP >= 0)
    real = real[:, :, None]
    if PROBLEM.c_in % TABLES.together:
        real = real & (first + offs < PROBLEM.c_in)
    ptrs = (x_ptrs + HOP * (PROBLEM.groups * PROBLEM.c_in))[:, :, None] + offs
    return split(tl.load(ptrs, mask=real, other=0.0), TABLES.together)


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
