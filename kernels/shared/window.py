"""A window that slides through registers: which inputs a block of outputs needs, and loading them a vector at a time."""

import functools
from typing import NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import Axis, taps_of_phase

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
    """The output rows that a program walks, a compile-time table.

    `fresh[r]` are the input rows to load before output row r, relative to the block's first; `taps[r]` says
    which taps meet which of the rows loaded so far.
    """

    fresh: tuple[tuple[int, ...], ...]
    taps: tuple[Taps, ...]


class Columns(NamedTuple):
    """The neighbouring output columns that a thread owns, a compile-time table.

    There are `count` taps. A thread loads `vectors`, each `size` columns from the one that is named relative to its block's first;
    `taps[v]` says which taps of output column v meet which of the columns loaded.
    """

    count: int
    size: int
    vectors: tuple[int, ...]
    taps: tuple[Taps, ...]


def _outputs(axis: Axis, block: int) -> tuple[Taps, ...]:
    """Return the (tap, input position) of `block` outputs of every phase, relative to input block * step."""
    found = []
    for output in range(block * axis.phases):
        j, phase = divmod(output, axis.phases)
        k0, count, start = taps_of_phase(axis, phase)
        first = start + j * axis.step
        found.append(tuple((k0 + t * axis.hop, first + t * axis.reach) for t in range(count)))
    return tuple(found)


@functools.cache
def rows(axis: Axis, block: int) -> Rows:
    """Return the table of `block` rows of every phase; each input row is loaded once."""
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
    """Return the table of `block` columns of every phase, loaded in aligned vectors of at most `widest` columns."""
    size = 1
    while size < widest and block * axis.step % (2 * size) == 0:
        size *= 2
    outputs = _outputs(axis, block)
    vectors = sorted({position // size * size for taps in outputs for _, position in taps})
    place = {first: index * size for index, first in enumerate(vectors)}
    taps = tuple(
        tuple((tap, place[position // size * size] + position % size) for tap, position in output)
        for output in outputs
    )
    return Columns(axis.taps, size, tuple(vectors), taps)


@functools.cache
def registers(rows: Rows, columns: Columns) -> int:
    """Estimate the 32-bit registers that a patch keeps in a thread: its sums, one input row, weights.

    The compiler adds an input row to all sums that use it, so rows do not stay; weights do if there are more rows.
    """
    used = {index for taps in columns.taps for _, index in taps}
    again = max(map(len, rows.taps)) if len(rows.taps) > 1 else 1
    return len(rows.taps) * len(columns.taps) + len(used) + again * max(map(len, columns.taps))


@triton.jit
def split(tile, SIZE: tl.constexpr):
    """Return the SIZE slices of a tile along its last axis, each in registers of the thread that loaded it."""
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
    """Return SIZE tiles as one with a new last axis; the inverse of split."""
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

    x_ptrs, ok: the tile's pointers and mask, at each thread's first column `col`, whose size is 1 along channels.
    """
    found = ()
    for index in tl.static_range(len(COLUMNS.vectors)):
        found += _vector(x_ptrs, col, ok, in_w, STRIDE, COLUMNS.vectors[index], COLUMNS.size)
    return found


@triton.jit
def _vector(x_ptrs, col, ok, in_w, STRIDE: tl.constexpr, FIRST: tl.constexpr, SIZE: tl.constexpr):
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
    """Store row r of the sums: in vectors as long as divide its columns, where these are neighbours in memory."""
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
