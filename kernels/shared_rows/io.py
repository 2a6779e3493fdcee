"""How kernels/shared_rows_jit.py takes its input from memory and gives its results back, in Gluon."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from tunedb.kernels.shared.ptx import INTERPRETED

__all__ = ["anew", "fetched", "pinned", "placed", "put", "seen", "store"]


@gluon.jit
def placed(
    x_ptr, tile, first, TILES: gl.constexpr, sizes, SIDE_D: gl.constexpr, SIDE_H: gl.constexpr, SIDE_W: gl.constexpr,
    C_IN: gl.constexpr, GROUPS: gl.constexpr, CHANNELS_LAST: gl.constexpr, FEW: gl.constexpr, STACK: gl.constexpr, LINES: gl.constexpr,
    PAIR: gl.constexpr, BLOCK_N: gl.constexpr, VALID: gl.constexpr, taken: gl.constexpr,
):  # fmt: skip
    """Return where a tile of the TILES from `first` on finds its input: pointers for no tap, first depth and row, and whether it is one."""
    n, _, in_h, in_w, num_d, pitch, blocks_h, plane, _, _ = sizes
    # Positions are counted in pairs, so that it shows that a load's are neighbours and share a mask.
    at = gl.arange(0, BLOCK_N, layout=gl.SliceLayout(1, taken))
    pairs = tile * (VALID // PAIR) + at // PAIR
    line = pairs // (pitch // PAIR)
    h = line % blocks_h * (LINES * STACK * SIDE_H.step) - SIDE_H.lead
    d = line // blocks_h % num_d * SIDE_D.step - SIDE_D.lead
    sample = line // (blocks_h * num_d)
    inside = (sample < n) & (tile < first + TILES)
    if FEW:
        w = pairs % pitch * SIDE_W.step - SIDE_W.lead
    else:
        w = pairs % (pitch // PAIR) - (SIDE_W.lead + PAIR - 1) // PAIR
        inside = inside & (w >= 0) & (w < in_w // PAIR)
        w = w * PAIR + at % PAIR
    SIDE_X: gl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1  # elements from one position to the next
    spot = (sample * (GROUPS * C_IN)).to(gl.int64) * plane
    spot += ((d * in_h + h).to(plane.dtype) * in_w + w) * SIDE_X
    return x_ptr + spot, d, h, w, inside


@gluon.jit
def fetched(
    x, sizes, step, row: gl.constexpr, SIDE_D: gl.constexpr, SIDE_H: gl.constexpr, SIDE_W: gl.constexpr, C_IN: gl.constexpr, GROUPS: gl.constexpr,
    CHANNELS_LAST: gl.constexpr, FEW: gl.constexpr, STACK: gl.constexpr, HIGH: gl.constexpr, CHUNKS: gl.constexpr, HEIGHTS: gl.constexpr, BLOCK_K: gl.constexpr,
):  # fmt: skip
    """Begin to load a row of input of a step, [positions, channels]: zeros outside the input."""
    x_spots, first_d, first_h, first_w, inside = x
    _, in_d, in_h, in_w, _, _, _, plane, stride_c, channel = sizes
    chunk = step % CHUNKS
    tap_h = step // CHUNKS % HEIGHTS
    tap_d = step // (CHUNKS * HEIGHTS)
    down = row if HIGH > 1 else row * (STACK * SIDE_H.step) + tap_h * SIDE_H.reach
    d = first_d + tap_d * SIDE_D.reach
    h = first_h + down
    ok = (inside & (d >= 0) & (d < in_d) & (h >= 0) & (h < in_h))[:, None]
    SIDE_X: gl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1
    hops = channel * stride_c
    if FEW:
        w = first_w[:, None] + (channel // 4 * SIDE_W.reach)[None, :]
        ok = ok & (channel % 4 < C_IN)[None, :] & (w >= 0) & (w < in_w)
        hops = channel % 4 * stride_c + channel // 4 * (SIDE_W.reach * SIDE_X)
    elif C_IN % BLOCK_K != 0:
        ok = ok & (chunk * BLOCK_K + channel < C_IN)[None, :]
    hop_h = (in_w * SIDE_X).to(plane.dtype)
    offset = tap_d * SIDE_D.reach * in_h * hop_h + down * hop_h + chunk * BLOCK_K * stride_c
    return gl.load((x_spots + offset)[:, None] + hops[None, :], mask=ok, other=0.0)


@gluon.jit
def put(room, row, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr, layout: gl.constexpr):
    """Write a row of input to shared memory, float32 rounded to TF32."""
    if row.dtype == gl.float32:
        row = _round_tf32(row)
    seen(room, 0, BLOCK_N, BLOCK_K, layout).store(row)


@gluon.jit
def seen(room, line, ROWS: gl.constexpr, COLUMNS: gl.constexpr, layout: gl.constexpr):
    """Return rows and columns of shared memory from a vector on."""
    return room.index(line)._reinterpret(room.dtype, [ROWS, COLUMNS], layout)  # noqa: SLF001 (public in all but name)


@gluon.jit
def _round_tf32(x):
    """Round to nearest, ties away from zero, as precision.round_tf32, but leave the last 13 bits, which matrix units ignore."""
    if INTERPRETED:
        bits = (x.to(gl.int32, bitcast=True) + 0x1000) & -0x2000
        x = gl.where(x == x, bits.to(gl.float32, bitcast=True), x)  # noqa: PLR0124 (NaN differs from itself)
    else:
        # Two instructions, of which cvt.rna.tf32.f32 makes four.
        x = gl.inline_asm_elementwise(
            "{ .reg .pred p; .reg .b32 b; setp.num.f32 p, $1, $1; mov.b32 b, $1; @p add.s32 b, b, 0x1000; mov.b32 $0, b; }",
            "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    return x


@gluon.jit
def pinned(number):
    """Keep loads and stores on their side of here: ptxas would move the loads of rows behind the last product of a step."""
    if not INTERPRETED:
        gl.inline_asm_elementwise(
            "bar.warp.sync 0xffffffff; mov.b32 $0, $1;",
            "=r,r",
            [number],
            dtype=gl.int32,
            is_pure=False,
            pack=1,
        )


@gluon.jit
def anew(number):
    """Return a number that LLVM cannot look into.

    It neither keeps what follows from it in registers from tile to tile, nor divides it by a constant in 16 bits, which ptxas
    12.9 gets wrong (kernels/ptx.py).
    """
    if not INTERPRETED:
        number = gl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [number], dtype=gl.int32, is_pure=False, pack=1
        )
    return number


@gluon.jit
def store(
    y_ptr, b_ptr, tile, of, at, block, n, out_d, out_h, out_w, num_d, pitch, blocks_h,
    C_OUT: gl.constexpr, GROUPS: gl.constexpr, NUM_M: gl.constexpr, HAS_BIAS: gl.constexpr, CHANNELS_LAST: gl.constexpr, LARGE: gl.constexpr,
    EVEN_OUT: gl.constexpr, PERIODS: gl.constexpr, WIDE: gl.constexpr, STACK: gl.constexpr, LINES: gl.constexpr, VALID: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, WARPS: gl.constexpr, product: gl.constexpr,
):  # fmt: skip
    """Store the sums of a line, [rows, positions].

    Rows are STACK rows of output or WIDE residues of the width by channels; residues in channels_first are innermost.
    """
    DTYPE: gl.constexpr = y_ptr.dtype.element_ty
    VECTOR: gl.constexpr = 128 // DTYPE.primitive_bitwidth
    CHANNELS: gl.constexpr = BLOCK_M // (STACK * WIDE)
    PERIOD_D: gl.constexpr = PERIODS[0]
    PERIOD_H: gl.constexpr = PERIODS[1]
    PERIOD_W: gl.constexpr = PERIODS[2]
    JOINED: gl.constexpr = WIDE if not CHANNELS_LAST else 1  # outputs of a position that lie side by side
    block = anew(block)
    out_w = anew(out_w) // EVEN_OUT * EVEN_OUT
    start = block % NUM_M * CHANNELS
    residue = block // NUM_M % (PERIOD_D * PERIOD_H)
    group = block // (NUM_M * PERIOD_D * PERIOD_H)
    if HAS_BIAS:
        row = gl.arange(0, BLOCK_M, layout=gl.SliceLayout(1, product))
        channel = start + (row // JOINED if JOINED > 1 else row % CHANNELS)
        bias = gl.load(b_ptr + group * C_OUT + channel, mask=channel < C_OUT, other=0.0)
        tile += bias.to(gl.float32)[:, None]
    tile = tile.to(DTYPE)
    if JOINED > 1:
        tile = gl.permute(gl.reshape(tile, (CHANNELS, JOINED, BLOCK_N)), (0, 2, 1))
        tile = gl.reshape(tile, (CHANNELS, BLOCK_N * JOINED))
    if CHANNELS_LAST:
        out: gl.constexpr = gl.BlockedLayout([VECTOR, 1], [8, 4], [1, WARPS], [0, 1])
    else:
        # As many results a thread as rows are aligned to, so that what a warp stores at once lies together.
        NEXT: gl.constexpr = min(VECTOR, EVEN_OUT) if JOINED == PERIOD_W else 1
        LANES: gl.constexpr = min(32, BLOCK_N * JOINED // NEXT)
        out: gl.constexpr = gl.BlockedLayout([1, NEXT], [32 // LANES, LANES], [WARPS, 1], [1, 0])
    tile = gl.convert_layout(tile, out)
    row = gl.arange(0, BLOCK_M // JOINED, layout=gl.SliceLayout(1, out))
    column = gl.arange(0, BLOCK_N * JOINED, layout=gl.SliceLayout(0, out))
    channel = start + row % CHANNELS
    spot = at * (VALID * JOINED) + column
    line = spot // (pitch * JOINED)
    o_w = spot % (pitch * JOINED)
    o_h = (line % blocks_h * (LINES * STACK) + of * STACK) * PERIOD_H + residue % PERIOD_H
    o_d = line // blocks_h % num_d * PERIOD_D + residue // PERIOD_H
    sample = line // (blocks_h * num_d)
    ok = (column < VALID * JOINED) & (sample < n)
    if PERIOD_D > 1:
        ok = ok & (o_d < out_d)
    if JOINED > PERIOD_W:
        ok = ok & (o_w % JOINED < PERIOD_W)
    if JOINED != PERIOD_W:
        o_w = o_w // JOINED * PERIOD_W + o_w % JOINED
    plane = out_d * out_h * out_w
    if LARGE:
        plane = plane.to(gl.int64)
    SIDE_Y: gl.constexpr = GROUPS * C_OUT if CHANNELS_LAST else 1
    stride_c = 1 if CHANNELS_LAST else plane
    spots = (sample * (GROUPS * C_OUT)).to(gl.int64) * plane
    spots += ((o_d * out_h + o_h).to(plane.dtype) * out_w + o_w) * SIDE_Y
    hop = (group * C_OUT + channel) * stride_c
    ok = (ok & (o_w < out_w) & (o_h < out_h))[None, :] & (channel < C_OUT)[:, None]
    inner = row // CHANNELS
    if STACK > 1:
        ok = ok & (o_h[None, :] + inner[:, None] < out_h)
        hop += inner * (out_w * SIDE_Y)
    elif WIDE > JOINED:
        ok = ok & (o_w[None, :] + inner[:, None] < out_w) & (inner < PERIOD_W)[:, None]
        hop += inner * SIDE_Y
    gl.store(y_ptr + spots[None, :] + hop[:, None], tile, mask=ok)
