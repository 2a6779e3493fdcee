"""The packed layout: which outputs share a position, and how long its axes are."""

import itertools

import pytest

packing = pytest.importorskip("tunedb.kernels.shared.packing")

from awkward import problem  # noqa: E402


def reached(given, axis):
    """The (output, tap, input) of an axis that a transposed convolution lets meet."""
    length, out = given.extents[axis], given.out_extents[axis]
    k, s, p, d = (each[axis] for each in (given.kernel, given.stride, given.padding, given.dilation))
    for i, t in itertools.product(range(length), range(k)):
        if 0 <= i * s + t * d - p < out:
            yield i * s + t * d - p, t, i


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize(("s", "d"), [(2, 1), (2, 2), (3, 2), (4, 2), (4, 4), (3, 3), (6, 4), (5, 3)])
@pytest.mark.parametrize("p", [0, 1, 3])
def test_residues(k, s, d, p):
    """An output with taps is a live residue of its position, and its inputs lie in the position's window."""
    given = problem("conv_transpose1d", c=(4, 4), extents=7, k=k, s=s, p=p, d=d)
    found = packing.packing_of(given)
    side, residues = found.width, found.residues[2]
    assert residues.live * residues.gap == s == found.periods[2]
    for output, _, i in reached(given, 2):
        position, residue = divmod(output, s)
        assert residue % residues.gap == residues.first
        assert 0 <= i - position + side.lead < side.taps
    (_, _, length) = packing.packed_lengths(given, found, 1)
    assert length == -(-given.out_extents[2] // s) + side.taps - 1


def test_a_gap_that_no_join_fills():
    """Joining pairs of tiles cannot fill a gap of three: all residues count as live."""
    found = packing.packing_of(problem("conv_transpose1d", c=(4, 4), extents=9, k=3, s=3, d=3))
    assert found.residues[2] == (3, 1, 0)


def test_strides_beyond_the_limit():
    """A stride beyond 16 has no packed layout."""
    assert packing.packing_of(problem("conv_transpose1d", c=(4, 4), extents=9, k=3, s=17)) is None
    assert packing.packing_of(problem("conv1d", c=(4, 4), extents=99, k=3, s=17)) is not None


@pytest.mark.parametrize(("k", "wide"), [((3, 3), (1, 1, 4)), ((3, 1), (1, 4, 1))])
def test_spanning(k, wide):
    """A span shares windows along the axis whose taps are neighbours, and leaves the rest of the layout as it is."""
    found = packing.packing_of(problem("conv2d", c=(4, 4), extents=(9, 11), k=k, p=1))
    assert found.wide == (1, 1, 1)
    assert found.spanning(4) == found._replace(wide=wide)


def test_residues_do_not_span():
    """The residues of a strided transposed problem share positions already, whatever the span."""
    found = packing.packing_of(problem("conv_transpose2d", c=(4, 4), extents=(9, 11), k=3, s=2))
    assert found.strided
    assert found.spanning(2) == found


@pytest.mark.parametrize("span", [1, 2, 4])
def test_lengths_of_spans(span):
    """Rows are as long as the windows of whole spans reach."""
    given = problem("conv2d", c=(4, 4), extents=(9, 11), k=3, p=1)
    found = packing.packing_of(given)
    wide = -(-11 // span) * span + 2
    assert packing.packed_lengths(given, found, span) == [1, 11, wide]
    assert packing.packed_elements(given, found, span) == 11 * -(-wide * found.channels // 16) * 16
