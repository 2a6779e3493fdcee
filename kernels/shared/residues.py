"""Outputs of a strided transposed convolution, kept apart by the residue of their column: side by side, and stored."""

import triton
import triton.language as tl
from tunedb.kernels.shared.tiles import divisor, place

__all__ = ["interleaved", "spread", "store_residues"]


@triton.constexpr_function
def spread(stride, channels_last):
    """Return how many residues leave interleaved in one store: all, rounded up to a power of two, or one by one."""
    return 1 if channels_last or stride > 8 else triton.next_power_of_2(stride)


@triton.jit
def interleaved(
    sums, S: tl.constexpr, S2: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SWAP: tl.constexpr
):
    """Return [channels, positions * S2]: the residues of a position side by side."""
    tiles = ()
    for residue in tl.static_range(S2):
        if residue >= S:
            tile = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        elif SWAP:
            tile = sums[residue]
        else:
            tile = tl.trans(sums[residue])
        tiles = tiles + (tile,)
    if S2 == 2:
        joined = tl.join(tiles[0], tiles[1])
    elif S2 == 4:
        joined = tl.join(tl.join(tiles[0], tiles[2]), tl.join(tiles[1], tiles[3]))
    else:
        even = tl.join(tl.join(tiles[0], tiles[4]), tl.join(tiles[2], tiles[6]))
        odd = tl.join(tl.join(tiles[1], tiles[5]), tl.join(tiles[3], tiles[7]))
        joined = tl.join(even, odd)
    return tl.reshape(joined, (BLOCK_N, BLOCK_M * S2))


@triton.jit
def store_residues(
    y_ptr, tile, first_row, start, residue, c_out, n_ok, bias, n, len_d, len_h, phase_d, phase_h, out_d, out_h, out_w,
    row_pitch, stride_yc, stride_ys, ALL_OUT: tl.constexpr, S2: tl.constexpr, FLAT: tl.constexpr, LEAD: tl.constexpr,
    BLOCK_M: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    AXIS_D: tl.constexpr, AXIS_H: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Store a tile of S2 interleaved residues from `residue` on."""
    offs = tl.arange(0, BLOCK_M * S2)
    along = start * S2 + offs
    ok = offs >= LEAD * S2
    if FLAT:
        row = along // (row_pitch * S2) - 1
        along = along % (row_pitch * S2)
    else:
        row = first_row + tl.zeros_like(along)
        ok = ok & (along < row_pitch * S2)
    if WIDTH.stride == S2:
        o_w = along + (WIDTH.first * S2 - WIDTH.padding)
    else:
        o_w = (along // S2 + WIDTH.first) * WIDTH.stride + along % S2 + residue - WIDTH.padding
        ok = ok & (along % S2 < WIDTH.stride)
        # The residues of a position are neighbours: without the hint Triton would store channels first.
        o_w = tl.max_contiguous(o_w, S2)
    j_h = row % divisor(len_h)
    rest = row // divisor(len_h)
    j_d = rest % divisor(len_d)
    sample = rest // divisor(len_d)
    ok = ok & (row >= 0) & (row < n * len_d * len_h) & (o_w >= 0) & (o_w < out_w)
    o_d = phase_d + j_d * AXIS_D.phases
    o_h = phase_h + j_h * AXIS_H.phases
    y_ptrs = y_ptr + sample.to(tl.int64) * ALL_OUT * (out_d * out_h * out_w)
    y_ptrs += ((o_d * out_h + o_h) * out_w + o_w) * stride_ys
    tile += place(bias, C)
    tl.store(
        place(y_ptrs, M) + place(c_out * stride_yc, C),
        tile.to(y_ptr.dtype.element_ty),
        mask=place(ok, M) & place(n_ok, C),
    )
