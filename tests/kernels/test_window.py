"""The tables of a sliding window: which inputs are loaded, and which tap of the kernel meets which of them."""

import pytest

pytest.importorskip("triton")

from awkward import AWKWARD
from tunedb.kernels.shared.geometry import Axis, axes, taps_of_residue
from tunedb.kernels.shared.window import columns, registers, rows

AXES = sorted({axis for problem in AWKWARD.values() for axis in axes(problem)})
PLAIN = Axis(3, 1, 1, 1, 1, 1, -1, 1, 0, 1)  # three taps, padding 1


def expected(axis, block):
    """The (tap, input position) pairs of the outputs of a block, from the definition of an axis."""
    for output in range(block * axis.residues):
        j, phase = divmod(output, axis.residues)
        k0, count, start = taps_of_residue(axis, phase)
        yield {(k0 + t * axis.hop, start + j * axis.step + t * axis.reach) for t in range(count)}


@pytest.mark.parametrize("block", [1, 2, 8])
def test_rows(block):
    """Every output row meets its own taps on rows that were loaded before it, each once."""
    for axis in AXES:
        table, loaded = rows(axis, block), []
        for fresh, taps, wanted in zip(table.fresh, table.taps, expected(axis, block), strict=True):
            loaded += fresh
            assert {(tap, loaded[index]) for tap, index in taps} == wanted
            assert len(taps) == len(wanted)
        assert len(set(loaded)) == len(loaded)


@pytest.mark.parametrize("widest", [1, 4, 8])
@pytest.mark.parametrize("block", [1, 2, 8])
def test_columns(block, widest):
    """Every output column meets its own taps, in vectors that are aligned for each thread and all needed."""
    for axis in AXES:
        table = columns(axis, block, widest)
        loaded = [first + index for first in table.vectors for index in range(table.size)]
        assert table.count == axis.taps
        assert table.size <= widest
        assert block * axis.step % table.size == 0
        assert all(first % table.size == 0 for first in table.vectors)
        used = set()
        for taps, wanted in zip(table.taps, expected(axis, block), strict=True):
            assert {(tap, loaded[index]) for tap, index in taps} == wanted
            used |= {index // table.size for _, index in taps}
        assert used == set(range(len(table.vectors)))


def test_rows_are_shared():
    """Eight rows under three taps load ten, where each on its own would load 24."""
    assert sum(map(len, rows(PLAIN, 8).fresh)) == 10


def test_columns_are_whole_vectors():
    """Eight columns under three taps load a vector and the nearest of each neighbour's; the widest may be limited."""
    assert columns(PLAIN, 8, 8).vectors == (-8, 0, 8)
    assert columns(PLAIN, 8, 8).size == 8
    assert columns(PLAIN, 8, 2).vectors == (-2, 0, 2, 4, 6, 8)
    assert columns(PLAIN, 1, 8).size == 1


def test_registers():
    """A patch of two rows by four columns under 3x3 taps keeps 8 sums, 6 inputs and 9 weights."""
    assert registers(rows(PLAIN, 2), columns(PLAIN, 4, 4)) == 8 + 6 + 9
