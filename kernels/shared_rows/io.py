"""How the kernel of shared_rows loads its input and stores its results, in Gluon."""

from typing import Any, NamedTuple

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from tunedb.kernels.shared.ptx import INTERPRETED

__all__ = [
    "Row",
    "Sizes",
    "load_row",
    "opaque",
    "scheduling_fence",
    "store",
    "store_to_shared",
    "tile_pointers",
    "view",
]


class Sizes(NamedTuple):
    """What the kernel derives from its run-time extents."""

    n: Any
    in_d: Any
    in_h: Any
    in_w: Any
    out_d: Any
    out_h: Any
    out_w: Any
    positions_d: Any  # along the depth
    positions_h: Any  # along the height, in runs of LINES * STACK, one run a program
    pitch: Any  # positions of a row, with its halo
    plane: Any  # elements of a channel of the input, 64 bits where PROBLEM.large
    stride_c: Any  # elements from one input channel to the next
    channel: Any  # 0 … BLOCK_K-1


class Row(NamedTuple):
    """Where a tile reads its first row of input: at tap 0 of depth and height, and position 0 of its first window."""

    pointers: Any
    d: Any  # input indices, which may lie outside
    h: Any
    w: Any
    mask: Any  # whether the tile exists and, unless SHAPE.few, w lies inside; load_row checks d and h


@gluon.jit
def tile_pointers(
    x_ptr, tile, first, TILES: gl.constexpr, sizes,
    PROBLEM: gl.constexpr, CONFIG: gl.constexpr, SHAPE: gl.constexpr, LAYOUTS: gl.constexpr,
):  # fmt: skip
    """Return the Row of a tile: base pointers at tap 0, first d/h/w, and the mask, which is false beyond TILES from `first`."""
    PAIR: gl.constexpr = SHAPE.pair
    position = gl.arange(0, CONFIG.BLOCK_N, layout=gl.SliceLayout(1, LAYOUTS.loaded))
    # Counted in pairs, so that Triton sees that the positions of a load are neighbours and share a mask.
    pairs = tile * (SHAPE.valid // PAIR) + position // PAIR
    row = pairs // (sizes.pitch // PAIR)
    h = row % sizes.positions_h * (CONFIG.LINES * CONFIG.STACK * SHAPE.height.step) - SHAPE.height.lead
    d = row // sizes.positions_h % sizes.positions_d * SHAPE.depth.step - SHAPE.depth.lead
    sample = row // (sizes.positions_h * sizes.positions_d)
    mask = (sample < sizes.n) & (tile < first + TILES)
    if SHAPE.few:
        w = pairs % sizes.pitch * SHAPE.width.step - SHAPE.width.lead
    else:
        w = pairs % (sizes.pitch // PAIR) - (SHAPE.width.lead + PAIR - 1) // PAIR
        mask = mask & (w >= 0) & (w < sizes.in_w // PAIR)
        w = w * PAIR + position % PAIR
    STRIDE_W: gl.constexpr = PROBLEM.groups * PROBLEM.c_in if PROBLEM.channels_last else 1
    offset = (sample * (PROBLEM.groups * PROBLEM.c_in)).to(gl.int64) * sizes.plane
    offset += ((d * sizes.in_h + h).to(sizes.plane.dtype) * sizes.in_w + w) * STRIDE_W
    return Row(x_ptr + offset, d, h, w, mask)


@gluon.jit
def load_row(
    x, sizes, step, row: gl.constexpr, PROBLEM: gl.constexpr, CONFIG: gl.constexpr, SHAPE: gl.constexpr
):
    """Begin to load one of a step's SHAPE.read rows of input, [positions, channels]: zeros outside the input."""
    chunk = step % SHAPE.chunks
    tap_h = step // SHAPE.chunks % SHAPE.heights
    tap_d = step // (SHAPE.chunks * SHAPE.heights)
    down = row if CONFIG.HIGH > 1 else row * (CONFIG.STACK * SHAPE.height.step) + tap_h * SHAPE.height.reach
    d = x.d + tap_d * SHAPE.depth.reach
    h = x.h + down
    mask = (x.mask & (d >= 0) & (d < sizes.in_d) & (h >= 0) & (h < sizes.in_h))[:, None]
    STRIDE_W: gl.constexpr = PROBLEM.groups * PROBLEM.c_in if PROBLEM.channels_last else 1
    channel = sizes.channel
    columns = channel * sizes.stride_c
    if SHAPE.few:
        w = x.w[:, None] + (channel // 4 * SHAPE.width.reach)[None, :]
        mask = mask & (channel % 4 < PROBLEM.c_in)[None, :] & (w >= 0) & (w < sizes.in_w)
        columns = channel % 4 * sizes.stride_c + channel // 4 * (SHAPE.width.reach * STRIDE_W)
    elif PROBLEM.c_in % CONFIG.BLOCK_K != 0:
        mask = mask & (chunk * CONFIG.BLOCK_K + channel < PROBLEM.c_in)[None, :]
    stride_h = (sizes.in_w * STRIDE_W).to(sizes.plane.dtype)
    offset = tap_d * SHAPE.depth.reach * sizes.in_h * stride_h + down * stride_h
    offset += chunk * CONFIG.BLOCK_K * sizes.stride_c
    return gl.load((x.pointers + offset)[:, None] + columns[None, :], mask=mask, other=0.0)


@gluon.jit
def store_to_shared(buffer, row, CONFIG: gl.constexpr, LAYOUTS: gl.constexpr):
    """Write a row of input to shared memory, float32 rounded to TF32."""
    if row.dtype == gl.float32:
        row = _round_tf32(row)
    BLOCK_N: gl.constexpr = CONFIG.BLOCK_N
    BLOCK_K: gl.constexpr = CONFIG.BLOCK_K
    X_SHARED: gl.constexpr = LAYOUTS.x_shared
    view(buffer, 0, BLOCK_N, BLOCK_K, X_SHARED).store(row)


@gluon.jit
def view(buffer, vector, ROWS: gl.constexpr, COLUMNS: gl.constexpr, layout: gl.constexpr):
    """Return a buffer as [ROWS, COLUMNS] from its given vector of 16 bytes on: another start is another window."""
    return buffer.index(vector)._reinterpret(buffer.dtype, [ROWS, COLUMNS], layout)  # noqa: SLF001 (public in all but name)


@gluon.jit
def _round_tf32(x):
    """Round to nearest, ties away from zero, as precision.round_tf32, but leave the last 13 bits, which matrix units ignore."""
    if INTERPRETED:
        bits = (x.to(gl.int32, bitcast=True) + 0x1000) & -0x2000
        x = gl.where(x == x, bits.to(gl.float32, bitcast=True), x)  # noqa: PLR0124 (NaN differs from itself)
    else:
        # Two instructions: cvt.rna.tf32.f32 becomes four.
        x = gl.inline_asm_elementwise(
            "{ .reg .pred p; .reg .b32 b; setp.num.f32 p, $1, $1; mov.b32 b, $1; @p add.s32 b, b, 0x1000; mov.b32 $0, b; }",
            "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    return x


@gluon.jit
def scheduling_fence(number):
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
def opaque(number):
    """Return the same number, but hide from LLVM where it comes from.

    LLVM then keeps nothing that depends on it in registers from tile to tile, and does not divide it by a constant in 16
    bits, which ptxas 12.9 gets wrong (kernels/shared/ptx.py).
    """
    if not INTERPRETED:
        number = gl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [number], dtype=gl.int32, is_pure=False, pack=1
        )
    return number


@gluon.jit
def store(
    y_ptr, b_ptr, sums, line: gl.constexpr, tile, block, sizes,
    PROBLEM: gl.constexpr, CONFIG: gl.constexpr, SHAPE: gl.constexpr, LAYOUTS: gl.constexpr,
):  # fmt: skip
    """Store the sums of a line, [rows, positions].

    Rows are channels by STACK rows of output, or by `wide` residues of the width. Channels are innermost, except that in
    channels_first residues are.
    """
    DTYPE: gl.constexpr = y_ptr.dtype.element_ty
    BLOCK_M: gl.constexpr = CONFIG.BLOCK_M
    BLOCK_N: gl.constexpr = CONFIG.BLOCK_N
    CHANNELS: gl.constexpr = SHAPE.channels
    RESIDUES_H: gl.constexpr = SHAPE.residues_h
    RESIDUES_W: gl.constexpr = SHAPE.residues_w
    # Outputs of a position that lie side by side in memory.
    JOINED: gl.constexpr = SHAPE.wide if not PROBLEM.channels_last else 1
    block = opaque(block)
    out_w = opaque(sizes.out_w) // PROBLEM.even_out * PROBLEM.even_out
    start = block % SHAPE.blocks_m * CHANNELS
    residue = block // SHAPE.blocks_m % (SHAPE.residues_d * RESIDUES_H)
    group = block // (SHAPE.blocks_m * SHAPE.residues_d * RESIDUES_H)
    if PROBLEM.has_bias:
        row = gl.arange(0, BLOCK_M, layout=gl.SliceLayout(1, LAYOUTS.product))
        channel = start + (row // JOINED if JOINED > 1 else row % CHANNELS)
        bias = gl.load(b_ptr + group * PROBLEM.c_out + channel, mask=channel < PROBLEM.c_out, other=0.0)
        sums += bias.to(gl.float32)[:, None]
    results = sums.to(DTYPE)
    if JOINED > 1:
        results = gl.permute(gl.reshape(results, (CHANNELS, JOINED, BLOCK_N)), (0, 2, 1))
        results = gl.reshape(results, (CHANNELS, BLOCK_N * JOINED))
    results = gl.convert_layout(results, LAYOUTS.stored)
    row = gl.arange(0, BLOCK_M // JOINED, layout=gl.SliceLayout(1, LAYOUTS.stored))
    column = gl.arange(0, BLOCK_N * JOINED, layout=gl.SliceLayout(0, LAYOUTS.stored))
    channel = start + row % CHANNELS
    output = tile * (SHAPE.valid * JOINED) + column
    of_row = output // (sizes.pitch * JOINED)
    o_w = output % (sizes.pitch * JOINED)
    o_h = of_row % sizes.positions_h * (CONFIG.LINES * CONFIG.STACK) + line * CONFIG.STACK
    o_h = o_h * RESIDUES_H + residue % RESIDUES_H
    o_d = of_row // sizes.positions_h % sizes.positions_d * SHAPE.residues_d + residue // RESIDUES_H
    sample = of_row // (sizes.positions_h * sizes.positions_d)
    mask = (column < SHAPE.valid * JOINED) & (sample < sizes.n)
    if SHAPE.residues_d > 1:
        mask = mask & (o_d < sizes.out_d)
    if JOINED > RESIDUES_W:
        mask = mask & (o_w % JOINED < RESIDUES_W)
    if JOINED != RESIDUES_W:
        o_w = o_w // JOINED * RESIDUES_W + o_w % JOINED
    plane = sizes.out_d * sizes.out_h * out_w
    if PROBLEM.large:
        plane = plane.to(gl.int64)
    STRIDE_W: gl.constexpr = PROBLEM.groups * PROBLEM.c_out if PROBLEM.channels_last else 1
    stride_c = 1 if PROBLEM.channels_last else plane
    columns = (sample * (PROBLEM.groups * PROBLEM.c_out)).to(gl.int64) * plane
    columns += ((o_d * sizes.out_h + o_h).to(plane.dtype) * out_w + o_w) * STRIDE_W
    rows = (group * PROBLEM.c_out + channel) * stride_c
    mask = (mask & (o_w < out_w) & (o_h < sizes.out_h))[None, :] & (channel < PROBLEM.c_out)[:, None]
    inner = row // CHANNELS
    if CONFIG.STACK > 1:
        mask = mask & (o_h[None, :] + inner[:, None] < sizes.out_h)
        rows += inner * (out_w * STRIDE_W)
    elif SHAPE.wide > JOINED:
        mask = mask & (o_w[None, :] + inner[:, None] < out_w) & (inner < RESIDUES_W)[:, None]
        rows += inner * STRIDE_W
    gl.store(y_ptr + columns[None, :] + rows[:, None], results, mask=mask)
