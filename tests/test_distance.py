from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb.distance import between_layers, between_neighbours, difference, kind
from tunedb.problem import Problem

PROBLEM = Problem(
    "conv2d",
    "float16",
    "ieee",
    "channels_first",
    8,
    32,
    64,
    1,
    0,
    1,
    32,
    32,
    1,
    3,
    3,
    1,
    1,
    1,
    0,
    1,
    1,
    0,
    0,
    0,
    1,
    1,
    1,
)
SIZES = st.builds(
    lambda n, h, w: PROBLEM._replace(n=n, in_h=h, in_w=w),
    st.integers(0, 64),
    st.integers(1, 999),
    st.integers(1, 999),
)


@given(SIZES, SIZES, SIZES)
def test_distances_are_metric(a, b, c):
    """A distance is 0 from a problem to itself, the same both ways, and no shorter by a detour."""
    for far in (between_layers, between_neighbours):
        assert far(a, a) == 0
        assert far(a, b) == far(b, a) >= 0
        assert far(a, c) <= far(a, b) + far(b, c) + 1e-9


@pytest.mark.parametrize(
    ("change", "distance"),
    [
        ({"n": 16}, 1.0),
        ({"n": 4}, 1.0),
        ({"in_w": 64}, 2.0),  # twice the work, on rows twice as long
        ({"in_h": 64}, 1.0),
        ({"in_h": 64, "in_w": 16}, 1.0),  # the same work on rows half as long
        ({"bias": 1}, 0.0),
        ({"n": 0}, 13.0),  # an empty batch is as far as it is small: 2**13 positions against none
    ],
)
def test_between_layers(change, distance):
    """Distances are doublings of the work plus doublings of the rows."""
    assert between_layers(PROBLEM, PROBLEM._replace(**change)) == pytest.approx(distance)


def test_between_neighbours_counts_channels_and_taps():
    """Between layers, each doubling of channels a group counts too, and of kernel elements twice."""
    other = PROBLEM._replace(c_in=64, c_out=32, k_h=6, padding_h=2, in_h=33)
    assert other.positions == PROBLEM.positions
    assert between_neighbours(PROBLEM, other) == pytest.approx(4.0)


def test_between_neighbours_counts_steps_and_groups():
    """Strides, dilations and the number of groups count, apart from the work that they change."""
    for change, steps in (({"stride_h": 4}, 2.0), ({"dilation_w": 2}, 1.0), ({"groups": 2, "c_in": 64}, 1.0)):
        other = PROBLEM._replace(**change)
        channels = abs(log2(other.c_out / other.groups) - log2(PROBLEM.c_out))
        assert between_neighbours(PROBLEM, other) == pytest.approx(
            between_layers(PROBLEM, other) + steps + channels
        )


def test_kind():
    """Classes differ in stride and in grouping."""
    assert kind(PROBLEM) == (False, "dense")
    assert kind(PROBLEM._replace(stride_w=2)) == (True, "dense")
    assert kind(PROBLEM._replace(groups=4)) == (False, "grouped")
    assert kind(PROBLEM._replace(groups=32)) == (False, "depthwise")


def test_difference_in_words():
    """The difference names each size with its value there and here."""
    assert difference(PROBLEM, PROBLEM._replace(n=1, bias=1)) == ["n 1 instead of 8", "bias 1 instead of 0"]
