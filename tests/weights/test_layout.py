"""A layout means what it says: padding, whole numbers, bounds, and nothing but values of the weight or zero."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunedb.errors import ProblemError
from tunedb.weights.layout import Coordinate, Layout, affine, level, nearest_tf32, pack_with_torch

WEIGHT = torch.arange(1, 13, dtype=torch.float32).reshape(3, 4)  # row r, column c: 4 * r + c + 1


def of_weight(*levels, row=None, column=None, more=()):
    """A layout of WEIGHT whose rows and columns are the axes of those names, or what is said."""
    coordinates = (
        Coordinate(row or affine(row=1), 3, dim=0),
        Coordinate(column or affine(column=1), 4, dim=1),
    )
    return Layout((3, 4), levels, (*coordinates, *more))


def values(layout, weight=WEIGHT):
    return pack_with_torch(layout, weight).tolist()


def test_a_level_of_several_axes():
    """Axes of a level are digits of its index, the last one fastest."""
    flat = of_weight(level(12, column=4, row=3))
    assert values(flat) == WEIGHT.t().flatten().tolist()
    assert (flat.shape, flat.elements) == ((12,), 12)


def test_what_a_level_holds_beyond_its_axes_is_zero():
    """The first axis takes the remainder, so that a padded row ends in zeros, also in the middle of a digit."""
    assert values(of_weight(level(14, row=3, column=4))) == [*map(float, range(1, 13)), 0.0, 0.0]
    assert values(of_weight(level(3, row=3), level(6, column=6))) == [[*row, 0, 0] for row in WEIGHT.tolist()]


def test_a_digit_may_be_wider_than_its_coordinate():
    """Channels made up to a vector are zeros between the others."""
    assert values(of_weight(level(15, row=3, column=5))) == [
        *(1, 2, 3, 4, 0), *(5, 6, 7, 8, 0), *(9, 10, 11, 12, 0)
    ]  # fmt: skip


def test_steps_shift_and_reverse():
    """A coordinate is an affine sum: rows are shifted against each other, and columns run backwards."""
    layout = of_weight(level(2, s=2), level(4, e=4), level(1, column=1), row=affine(e=1, s=-1))
    assert [[one[0] for one in row] for row in values(layout)] == [[1, 5, 9, 0], [0, 1, 5, 9]]
    assert values(of_weight(level(4, back=4), row=affine(2), column=affine(3, back=-1))) == [12, 11, 10, 9]


def test_a_coordinate_must_be_whole():
    """Where the divisor does not divide, and below zero, the element is zero."""
    assert values(of_weight(level(8, e=8), row=affine(), column=affine(-2, 2, e=1))) == [
        0,
        0,
        1,
        0,
        2,
        0,
        3,
        0,
    ]


def test_a_bound_without_a_dimension():
    """A coordinate of no dimension only bounds an axis."""
    layout = of_weight(level(4, q=4), row=affine(), column=affine(q=1), more=(Coordinate(affine(q=1), 2),))
    assert values(layout) == [1, 2, 0, 0]


def test_two_coordinates_of_one_dimension():
    """Group and channel of a group both move the index into the weight's first dimension."""
    pair = (Coordinate(affine(half=1), 2, dim=0, times=1), Coordinate(affine(other=1), 2, dim=0, times=2))
    layout = Layout((4,), (level(4, half=2, other=2),), pair)
    assert values(layout, torch.tensor([10.0, 11.0, 12.0, 13.0])) == [10, 12, 11, 13]


def test_layouts_are_values():
    """Layouts that say the same are equal and have one hash; the shape of the weight and rounding count."""
    one, same = (of_weight(level(12, row=3, column=4)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != one._replace(rounded=True)
    assert one != one._replace(weight_shape=(4, 3))


def test_a_weight_of_another_shape_is_refused():
    """A layout is for one shape: another would be read beyond its end."""
    with pytest.raises(ProblemError, match=r"must have the shape \(3, 4\).* has \(4, 3\)"):
        pack_with_torch(of_weight(level(12, row=3, column=4)), WEIGHT.t())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_bit_stays(dtype):
    """NaN with its payload, infinity and -0 are copied; strides of the weight do not matter; the copy is memory of its own."""
    whole = torch.int32 if dtype == torch.float32 else torch.int16
    bits = torch.tensor([0x7FC1, 0x7F81, -0x80, -0x8000, 0x7FFF, 1] * 2, dtype=torch.int32)
    weight = (bits * 0x10000 + 5 if whole == torch.int32 else bits).to(whole).reshape(4, 3).view(dtype).t()
    packed = pack_with_torch(of_weight(level(12, row=3, column=4)), weight)
    assert packed.dtype == dtype
    assert torch.equal(packed.view(whole), weight.contiguous().view(whole).flatten())
    assert packed.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()


def test_rounding():
    """`rounded` gives the nearest TF32 of each element."""
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    layout = of_weight(level(12, row=3, column=4))
    exact, rounded = (pack_with_torch(layout._replace(rounded=on), weight) for on in (False, True))
    assert torch.equal(rounded, nearest_tf32(exact))
    assert not torch.equal(rounded, exact)


def exactly_rounded(value):
    """The nearest number of 11 significant bits and float32's exponents, ties away from zero."""
    if not math.isfinite(value) or value == 0:
        return value
    _, exponent = math.frexp(value)
    quantum = 2.0 ** (max(exponent, -125) - 11)
    rounded = math.floor(abs(value) / quantum + 0.5) * quantum
    return math.copysign(math.inf if rounded >= 2.0**128 else rounded, value)


@given(st.lists(st.floats(width=32), min_size=1))
def test_nearest_tf32(values):
    """Every float32 becomes the nearest TF32, ties away from zero; infinity and NaN stay what they are."""
    found = nearest_tf32(torch.tensor(values, dtype=torch.float32)).tolist()
    for value, ours in zip(values, found, strict=True):
        expected = exactly_rounded(value)
        assert (math.isnan(ours) and math.isnan(expected)) or ours == expected
        assert math.isnan(value) or math.copysign(1, ours) == math.copysign(1, value)


def test_nearest_tf32_at_its_edges():
    """Ties go away from zero, the largest numbers to infinity, and every kind of NaN stays NaN."""
    one_up = 1 + 2.0**-10
    given_values = [1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-11 - 2.0**-23, 3.4028234e38, -0.0]
    assert nearest_tf32(torch.tensor(given_values)).tolist() == [one_up, -one_up, 1.0, math.inf, 0.0]
    bits = torch.tensor([0x7F800001, 0x7FFFFFFF, -1, 0x7FC00000 | 0x1FFF], dtype=torch.int32)
    assert nearest_tf32(bits.view(torch.float32)).isnan().all()
