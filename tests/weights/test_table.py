"""The table of a layout is the layout: divisions are exact, and its rows give the indices that mixed radix gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb.weights.layout import Coordinate, Layout, affine, level
from tunedb.weights.table import COORDINATE, DIMS, LIMIT, TERM, division, table, terms


@given(st.integers(0, LIMIT), st.integers(1, LIMIT))
def test_division(n, divisor):
    """A product and a shift divide every number that 31 bits hold."""
    given_divisor, multiplier, shift = division(divisor)
    assert given_divisor == divisor
    assert n * multiplier >> shift == n // divisor
    assert n * multiplier < 2**63


@pytest.mark.parametrize(
    "divisor", [1, 2, 3, 7, 641, 2**16, 2**16 + 1, 2**30 - 1, 2**30, 2**30 + 1, LIMIT - 1, LIMIT]
)
def test_division_at_its_edges(divisor):
    """The greatest numbers, and those on either side of a multiple, are divided exactly."""
    _, multiplier, shift = division(divisor)
    for multiple in (1, 2, LIMIT // divisor - 1, LIMIT // divisor):
        for n in (divisor * multiple - 1, divisor * multiple, divisor * multiple + 1, LIMIT):
            if 0 <= n <= LIMIT:
                assert n * multiplier >> shift == n // divisor


LAYOUT = Layout(
    (6, 5, 3),
    (level(4, a=2, b=2), level(17, c=3, d=5), level(2, e=2)),
    (
        Coordinate(affine(1, 2, a=3, d=-1), 6, dim=0, times=2),
        Coordinate(affine(b=1, c=1, e=4), 5, dim=2),
        Coordinate(affine(e=1), 2),
    ),
)  # fmt: skip


def test_terms_are_indices():
    """By flat % around // unit % size a term gives the index of its axis, in a padded level too, whose first axis goes on."""
    a, d, b, c, e, _ = (term for of_one in terms(LAYOUT) for term in of_one)
    numbers = [(i, j, k) for i in range(4) for j in range(17) for k in range(2)]
    for flat, (i, j, k) in enumerate(numbers):
        found = [flat % around // unit % size for around, unit, size, _ in (a, b, c, d, e)]
        assert found == [i // 2, i % 2, j // 5, j % 5, k]
    assert [term.step for term in (a, d, b, c, e)] == [3, -1, 1, 1, 4]


def test_rows():
    """Each coordinate is a row with its start, terms, divisor, extent and dimension; its terms follow."""
    numbers = table(LAYOUT)
    assert len(numbers) == 3 * COORDINATE + 6 * TERM
    first = numbers[:COORDINATE]
    assert first[:3] == [1, 2, 2]
    assert first[5:] == [6, 2, 0, 0, 0, 0]
    second = numbers[COORDINATE + 2 * TERM :][:COORDINATE]
    assert (second[0], second[1], second[5:]) == (0, 3, [5, 0, 0, 1, 0, 0])
    bound = numbers[2 * COORDINATE + 5 * TERM :][:COORDINATE]
    assert bound[5:] == [2] + [0] * DIMS
    assert numbers[COORDINATE + TERM - 1] == 3
