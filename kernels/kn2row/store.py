"""How kn2row stores the outputs of a row: the residues of the width interleaved, or one after the other."""

import triton
import triton.language as tl
from tunedb.kernels.shared.tiles import divisor, place

__all__ = ["interleaved", "interleaved_at_once", "store_width_residues"]


@triton.constexpr_function
def interleaved_at_once(channels_last, stride):
    """Return how many residues one store interleaves: all, made up to a power of two, or 1 where each is stored by itself."""
    # In channels_last neighbours in memory are channels, so that interleaving residues gains nothing.
    return 1 if channels_last or stride > 8 else triton.next_power_of_2(stride)


@triton.jit
def interleaved(sums, TOGETHER: tl.constexpr, WIDTH: tl.constexpr, CONFIG: tl.constexpr):
    """Return [channels, positions * TOGETHER]: the residues of a position side by side, zeros where there are fewer."""
    BLOCK_M: tl.constexpr = CONFIG.BLOCK_M
    BLOCK_N: tl.constexpr = CONFIG.BLOCK_N
    tiles = ()
    for residue in tl.static_range(TOGETHER):
        if residue >= WIDTH.stride:
            tile = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        elif CONFIG.SWAP:
            tile = sums[residue]
        else:
            tile = tl.trans(sums[residue])
        tiles = tiles + (tile,)
    if TOGETHER == 2:
        joined = tl.join(tiles[0], tiles[1])
    elif TOGETHER == 4:
        joined = tl.join(tl.join(tiles[0], tiles[2]), tl.join(tiles[1], tiles[3]))
    else:
        even = tl.join(tl.join(tiles[0], tiles[4]), tl.join(tiles[2], tiles[6]))
        odd = tl.join(tl.join(tiles[1], tiles[5]), tl.join(tiles[3], tiles[7]))
        joined = tl.join(even, odd)
    return tl.reshape(joined, (BLOCK_N, BLOCK_M * TOGETHER))


@triton.jit
def store_width_residues(
    y_ptr, tile, first_row, start, c_out, n_ok, bias, n, len_d, len_h, residue_d, residue_h, out_d, out_h, out_w, row_pitch,
    FIRST: tl.constexpr, TOGETHER: tl.constexpr, M: tl.constexpr,
    PROBLEM: tl.constexpr, WIDTH: tl.constexpr, LEAD: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Add the bias to a tile of TOGETHER interleaved residues of the width from FIRST on, and store it.

    The tile's positions lie along axis M from position `start` of row `first_row` on. All its rows are of one residue of
    the depth and one of the height. (In packed.store.store_residue_columns, residues of all three axes are columns of a tile.)
    """
    C: tl.constexpr = 1 - M
    stride_yc = 1 if PROBLEM.channels_last else out_d * out_h * out_w
    stride_ys: tl.constexpr = PROBLEM.groups * PROBLEM.c_out if PROBLEM.channels_last else 1
    offs = tl.arange(0, CONFIG.BLOCK_M * TOGETHER)
    along = start * TOGETHER + offs
    ok = offs >= LEAD * TOGETHER
    if CONFIG.FLAT:
        row = along // (row_pitch * TOGETHER) - 1
        along = along % (row_pitch * TOGETHER)
    else:
        row = first_row + tl.zeros_like(along)
        ok = ok & (along < row_pitch * TOGETHER)
    if WIDTH.stride == TOGETHER:
        o_w = along + (WIDTH.first * TOGETHER - WIDTH.padding)
    else:
        o_w = (along // TOGETHER + WIDTH.first) * WIDTH.stride + along % TOGETHER + FIRST - WIDTH.padding
        ok = ok & (along % TOGETHER < WIDTH.stride)
        # The residues of a position are neighbours. Without this hint Triton would store channel by channel.
        o_w = tl.max_contiguous(o_w, TOGETHER)
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    ok = ok & (row >= 0) & (row < n * len_d * len_h) & (o_w >= 0) & (o_w < out_w)
    o_d = residue_d + j_d * PROBLEM.axis_d.residues
    o_h = residue_h + j_h * PROBLEM.axis_h.residues
    y_ptrs = y_ptr + sample.to(tl.int64) * (PROBLEM.groups * PROBLEM.c_out) * (out_d * out_h * out_w)
    y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    tile += place(bias, C)
    tl.store(
        place(y_ptrs, M) + place(c_out * stride_yc, C),
        tile.to(y_ptr.dtype.element_ty),
        mask=place(ok, M) & place(n_ok, C),
    )
