"""Windows of input in registers: which inputs a block of neighbouring outputs needs, loaded in vectors, each once.

The host makes compile-time tables of an axis, Rows and Columns; the kernels unroll over them. For three taps, stride 1,
padding 1 and a block of four columns:

    input column     -1  0  1  2  3  4      vectors of 2 start at -2, 0, 2, 4
    output 0          k0 k1 k2
    output 1             k0 k1 k2           taps[1] = ((0, 2), (1, 3), (2, 4)): column 0 is the third loaded
"""

import functools
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import Axis, taps_of_residue

__all__ = [
    "Columns",
    "Rows",
    "columns",
    "join",
    "load_row",
    "registers",
    "rows",
    "split",
    "store_row",
]

Taps = tuple[tuple[int, int], ...]  # (tap of the kernel, index of the input that it multiplies)


class Rows(NamedTuple):
    """Which input rows a block of output rows reads, a compile-time table.

    `fresh[r]` are the input rows to load before output row r is computed, relative to the block's first. `taps[r]` are the
    pairs (tap, index among all rows loaded so far) whose products output row r sums.
    """

    fresh: tuple[tuple[int, ...], ...]
    taps: tuple[Taps, ...]


class Columns(NamedTuple):
    """Which input columns the neighbouring output columns of a thread read, a compile-time table.

    `taps[v]` are the pairs (tap, index among the columns loaded) whose products output column v sums.
    """

    count: int  # taps of the kernel along this axis
    size: int  # columns of a vector
    vectors: tuple[int, ...]  # the first column of each vector loaded, relative to the thread's first
    taps: tuple[Taps, ...]


def _outputs(axis: Axis, block: int) -> tuple[Taps, ...]:
    """Return the (tap, input position) pairs of the first `block` outputs of every residue, in the order of the outputs."""
    found = []
    for output in range(block * axis.residues):
        j, residue = divmod(output, axis.residues)
        k0, count, start = taps_of_residue(axis, residue)
        first = start + j * axis.step
        found.append(tuple((k0 + t * axis.hop, first + t * axis.reach) for t in range(count)))
    return tuple(found)


@functools.cache
def rows(axis: Axis, block: int) -> Rows:
    """Return the table of `block` output rows of every residue; each input row is loaded once."""
    seen: dict[int, int] = {}
    fresh, taps = [], []
    for output in _outputs(axis, block):
        new = [position for _, position in output if position not in seen]
        seen.update({position: len(seen) + index for index, position in enumerate(new)})
        fresh.append(tuple(new))
        taps.append(tuple((tap, seen[position]) for tap, position in output))
    return Rows(tuple(fresh), tuple(taps))


@functools.cache
def columns(axis: Axis, block: int, widest: int) -> Columns:
    """Return the table of `block` output columns of every residue, loaded in aligned vectors of at most `widest` columns."""
    size = 1
    while size < widest and block * axis.step % (2 * size) == 0:
        size *= 2
    outputs = _outputs(axis, block)
    vectors = sorted({position // size * size for taps in outputs for _, position in taps})
    loaded_at = {first: index * size for index, first in enumerate(vectors)}
    taps = tuple(
        tuple((tap, loaded_at[position // size * size] + position % size) for tap, position in output)
        for output in outputs
    )
    return Columns(axis.taps, size, tuple(vectors), taps)


@functools.cache
def registers(rows: Rows, columns: Columns) -> int:
    """Estimate how many 32-bit registers a thread needs for a patch: its sums, one input row, weights.

    One input row is enough: the compiler adds a row to all sums that use it, and then needs its registers no more. Weights
    keep theirs where several output rows use them.
    """
    used = {index for taps in columns.taps for _, index in taps}
    again = max(map(len, rows.taps)) if len(rows.taps) > 1 else 1
    return len(rows.taps) * len(columns.taps) + len(used) + again * max(map(len, columns.taps))


@triton.jit
def split(tile, SIZE: tl.constexpr):
    """Return the SIZE slices of a tile along its last axis; each stays in the registers of the thread that loaded it."""
    parts = (tile,)
    for level in tl.static_range(SIZE.bit_length() - 1):
        even = ()
        odd = ()
        for index in tl.static_range(2**level):
            pairs = tl.reshape(parts[index], (tile.shape[0], tile.shape[1], SIZE // 2 ** (level + 1), 2))
            left, right = tl.split(pairs)
            even += (left,)
            odd += (right,)
        parts = even + odd
    slices = ()
    for index in tl.static_range(SIZE):
        slices += (tl.reshape(parts[index], (tile.shape[0], tile.shape[1])),)
    return slices


@triton.jit
def join(tiles, SIZE: tl.constexpr):
    """Return SIZE tiles as one tile with a new last axis: the inverse of split."""
    parts = tiles
    for level in tl.static_range(SIZE.bit_length() - 1):
        joined = ()
        for index in tl.static_range(SIZE // 2 ** (level + 1)):
            pair = tl.join(parts[index], parts[index + SIZE // 2 ** (level + 1)])
            joined += (tl.reshape(pair, (tiles[0].shape[0], tiles[0].shape[1], 2 ** (level + 1))),)
        parts = joined
    return parts[0]


@triton.jit
def load_row(x_ptrs, col, ok, in_w, STRIDE: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the columns of one input row that a tile needs, as a tuple of tiles, zero outside the input.

    x_ptrs, ok: pointers to each thread's first column, and whether its row and channel exist. col: the number of that column,
    of size 1 along channels. STRIDE: elements between neighbouring columns.
    """
    found = ()
    for index in tl.static_range(len(COLUMNS.vectors)):
        found += _vector(x_ptrs, col, ok, in_w, STRIDE, COLUMNS.vectors[index], COLUMNS.size)
    return found


@triton.jit
def _vector(x_ptrs, col, ok, in_w, STRIDE: tl.constexpr, FIRST: tl.constexpr, SIZE: tl.constexpr):
    """Return SIZE columns from the thread's column FIRST on, by one load."""
    if SIZE == 1:
        real = ok & (col + FIRST < in_w)
        if FIRST < 0:
            real = real & (col + FIRST >= 0)
        parts = (tl.load(x_ptrs + FIRST * STRIDE, mask=real, other=0.0),)
    else:
        hop = (FIRST + tl.arange(0, SIZE))[None, None, :]
        at = col[:, :, None] + hop
        real = ok[:, :, None] & (at < in_w)
        if FIRST < 0:
            real = real & (at >= 0)
        parts = split(tl.load(x_ptrs[:, :, None] + hop, mask=real, other=0.0), SIZE)
    return parts


@triton.jit
def store_row(y_ptrs, o_w, ok, out_w, acc, r, STRIDE: tl.constexpr, WIDTH: tl.constexpr):
    """Store the sums of row r, WIDTH outputs a thread.

    Where columns are neighbours in memory, STRIDE 1, a store takes as many as the largest power of two that divides WIDTH.
    """
    SIZE: tl.constexpr = WIDTH & -WIDTH if STRIDE == 1 else 1
    for first in tl.static_range(0, WIDTH, SIZE):
        columns = ()
        for v in tl.static_range(SIZE):
            columns += (acc[r * WIDTH + first + v].to(y_ptrs.dtype.element_ty),)
        if SIZE > 1:
            hop = first + tl.arange(0, SIZE)[None, None, :]
            real = ok[:, :, None] & (o_w[:, :, None] + hop < out_w)
            tl.store(y_ptrs[:, :, None] + hop, join(columns, SIZE), mask=real)
        else:
            tl.store(y_ptrs + first * STRIDE, columns[0], mask=ok & (o_w + first < out_w))
