"""A layout as a table of integers, which one compiled kernel reads: pack_kernel.py, whose constants are these.

The index of an axis follows from the number of a packed element, `flat`, by three numbers:

    flat % around // unit % size       around: elements of the axis' level, with the levels inside of it
                                       unit: elements between neighbours along the axis

A coordinate is a row of its own, then come the rows of its terms, one for each axis that moves it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tunedb.weights.layout import Layout

__all__ = ["COORDINATE", "DIMS", "LIMIT", "TERM", "Term", "division", "table", "terms"]

LIMIT = 2**31 - 1  # numbers of elements, indices and divisors are smaller or the same
DIMS = 5  # of a weight, the most
# int64s of a row. Coordinate: start, terms, divisor (3), extent, elements along each dimension (DIMS).
COORDINATE = 6 + DIMS
TERM = 10  # around (3), unit (3), size (3), step


class Term(NamedTuple):
    """The part of a coordinate that one axis gives: step * (flat % around // unit % size)."""

    around: int
    unit: int
    size: int
    step: int


def terms(layout: Layout) -> Iterator[list[Term]]:
    """Yield the terms of each coordinate."""
    places: dict[str, tuple[int, int, int]] = {}
    inside = 1  # elements of the levels inside
    for size, axes in reversed(layout.levels):
        around, unit = size * inside, inside
        for axis in reversed(axes):
            # The first axis of a level takes the remainder.
            places[axis.name] = around, unit, LIMIT if axis is axes[0] else axis.size
            unit *= axis.size
        inside = around
    for coordinate in layout.coordinates:
        yield [Term(*places[name], step) for name, step in coordinate.at.steps]


def table(layout: Layout) -> list[int]:
    """Return all coordinates, each a row of COORDINATE numbers and a row of TERM numbers for each of its terms."""
    numbers: list[int] = []
    for coordinate, parts in zip(layout.coordinates, terms(layout), strict=True):
        along = [coordinate.times if dim == coordinate.dim else 0 for dim in range(DIMS)]
        at = coordinate.at
        numbers += [at.start, len(parts), *division(at.divisor), coordinate.extent, *along]
        for around, unit, size, step in parts:
            numbers += [*division(around), *division(unit), *division(size), step]
    return numbers


def division(divisor: int) -> tuple[int, int, int]:
    """Return divisor, multiplier and shift, such that n // divisor = n * multiplier >> shift for n from 0 to LIMIT.

    A GPU divides by a number that it does not know in some twenty instructions, and multiplies in one or two. Granlund and
    Montgomery, "Division by invariant integers using multiplication" (1994), theorem 4.2. The product fits 63 bits.
    """
    shift = 31 + (divisor - 1).bit_length()
    return divisor, -(-(1 << shift) // divisor), shift
