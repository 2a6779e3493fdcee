"""Trees as plain arrays: walked right, and refused where a walk would not end."""

import gzip
import json
from random import Random

import pytest

from tunedb.dispatch.unseen.choose import COLUMNS
from tunedb.dispatch.unseen.shipped import shipped_predictor
from tunedb.dispatch.unseen.trees import VERSION, forest_of, read_predictor

STUMP = {
    "base": 1.0,
    "roots": [0, 3],
    "column": [1, -1, -1, -1],
    "threshold": [2.5, 10.0, 20.0, 0.5],
    "left": [1, 0, 0, 0],
    "right": [2, 0, 0, 0],
}


@pytest.mark.parametrize(("features", "expected"), [([9.0, 2.5], 11.5), ([9.0, 2.6], 21.5)])
def test_a_forest_is_the_sum_of_its_trees(features, expected):
    """A node goes left up to its threshold; a tree may be a single leaf."""
    assert forest_of(STUMP, 2).value(features) == expected


def test_several_at_once_are_valued_as_one_by_one():
    """By the shipped trees: configs that differ in one feature, in all, in none; where none are given, none are valued."""
    forest, random = shipped_predictor().forests["config"], Random(0)
    columns, shared = COLUMNS["config"], COLUMNS["torch"]
    about = [random.choice(forest.threshold) for _ in range(shared)]
    first = [random.choice(forest.threshold) for _ in range(columns - shared)]
    each = [first, [*first[:-1], first[-1] + 1], first]
    each += [[random.uniform(-4, 9) for _ in first] for _ in range(40)]
    expected = [forest.value([*about, *one]) for one in each]
    assert forest.values(about, each) == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) > 30
    assert forest.values(about, []) == []
    assert forest_of(STUMP, 2).values([9.0], [[2.5], [2.6]]) == [11.5, 21.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": [0, 0, 0, 0]}, "must come after it"),
        ({"column": [2, -1, -1, -1]}, "column of a forest must be integers"),
        ({"roots": [-1]}, "roots of a forest must be integers"),
        ({"right": [2]}, "must have one length"),
    ],
)
def test_a_forest_whose_walk_could_fail_is_refused(change, message):
    """A circle, a feature that there is not, a root outside, arrays of two lengths: none is walked."""
    with pytest.raises(ValueError, match=message):
        forest_of(STUMP | change, 2)


def test_a_predictor_is_read_back(tmp_path):
    """A written predictor gives its devices, forests and facts."""
    path = tmp_path / "predictor.json.gz"
    given = {"version": VERSION, "devices": ["h200"], "facts": {"problems": 3}, "forests": dict.fromkeys(COLUMNS, STUMP)}  # fmt: skip
    path.write_bytes(gzip.compress(json.dumps(given).encode()))
    found = read_predictor(path, COLUMNS)
    assert found.devices == ("h200",)
    assert found.facts == {"problems": 3}
    assert set(found.forests) == set(COLUMNS)


@pytest.mark.parametrize(
    "data",
    [b"nothing", gzip.compress(b"[]"), gzip.compress(b'{"version": 0}'), gzip.compress(b"{}")],
    ids=["no gzip", "a list", "another version", "an empty object"],
)
def test_what_is_no_predictor_is_refused(tmp_path, data):
    """Another file, a list, another version and an empty object are OSError or ValueError, which a lookup can catch."""
    path = tmp_path / "predictor.json.gz"
    path.write_bytes(data)
    with pytest.raises((OSError, ValueError)):
        read_predictor(path, COLUMNS)
