"""A covering set of problems: near ones stand for each other, common ones come first."""

import pytest

from tunedb.distance import CLASS_LIMIT, between_neighbours
from tunedb.problem import Problem


def problem(c_in=64, c_out=64, size=56, k=3, stride=1, groups=1, n=1, op="conv2d", dilation=1):
    return Problem(
        op, "float32", "tf32", "channels_first", n, c_in, c_out, groups, 0, 1, size, size, 1, k, k, 1, stride, stride,
        0, k // 2, k // 2, 0, 0, 0, 1, dilation, dilation,
    )  # fmt: skip


@pytest.fixture
def layers(scripts):
    """Make layers of problems, each in so many models."""
    layer = scripts("zoo.suite_file").Layer
    return lambda *given: [layer(one, models, models, ()) for one, models in given]


def test_coordinates_give_the_distance_of_dispatch(scripts):
    """The sum of the coordinates' differences is the distance by which dispatch borrows."""
    features = scripts("zoo.cover").features
    one = problem()
    for other in (
        problem(c_in=96), problem(c_out=256, k=5), problem(size=14, n=8), problem(dilation=2), problem(64, 128, 28, 1, 2),
        problem(groups=64, k=7), problem(groups=4),
    ):  # fmt: skip
        apart = sum(abs(a - b) for a, b in zip(features(one), features(other), strict=True))
        assert apart == pytest.approx(between_neighbours(one, other))


def test_the_next_one_is_what_helps_most_models(scripts, layers):
    """The middle of a common group comes first, then what lies far from it; a near one of a chosen problem comes last."""
    given = layers(
        (problem(64), 5), (problem(96), 9), (problem(128), 5), (problem(2048, 2048, 7), 4), (problem(k=7, groups=64), 6),
    )  # fmt: skip
    covering = scripts("zoo.cover").covering
    assert covering(given, 3) == [1, 4, 3]
    assert covering(given, 10)[:3] == [1, 4, 3]
    assert sorted(covering(given, 10)) == [0, 1, 2, 3, 4]


def test_the_choice_is_that_of_plain_greed(scripts, layers):
    """Judging only those at the top again gives what judging all of them each time gives."""
    given = layers(
        *((problem(c, c, size, k), 1 + (c * size * k) % 7) for c in (16, 24, 64, 200) for size in (7, 30, 56) for k in (1, 3, 5))
    )  # fmt: skip
    left = [CLASS_LIMIT] * len(given)
    for index in scripts("zoo.cover").covering(given, 8):
        apart = [[between_neighbours(one.problem, other.problem) for other in given] for one in given]
        gains = [
            sum(
                layer.models * max(0.0, old - distance)
                for layer, old, distance in zip(given, left, row, strict=True)
            )
            for row in apart
        ]
        assert gains[index] == pytest.approx(max(gains), rel=1e-4)
        left = [min(old, distance) for old, distance in zip(left, apart[index], strict=True)]


def test_no_problem_stands_for_another_operation(scripts, layers):
    """A transposed, strided or grouped problem is covered by its own kind only, and shares say what is near."""
    given = layers((problem(), 1), (problem(op="conv_transpose2d"), 1), (problem(stride=2), 1), (problem(c_out=96), 1))  # fmt: skip
    assert scripts("zoo.cover").nearest(given, [0]) == pytest.approx([0, CLASS_LIMIT, CLASS_LIMIT, 0.585], abs=1e-3)  # fmt: skip
    assert scripts("zoo.page").covered(given, [0]) == {"problems": 0.5, "layers": 0.5}
