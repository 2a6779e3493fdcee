"""Features and candidates: of the promised length and valid where they are judged."""

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.dispatch.unseen.choose import COLUMNS, candidates, choose
from tunedb.dispatch.unseen.features import CONFIG, PROBLEM, config_features, problem_features, scale_log
from tunedb.dispatch.unseen.trees import Predictor, forest_of
from tunedb.kernel import load
from tunedb.problem import Problem
from tunedb.record import Choice

H200 = by_slug("h200")
DENSE = Problem("conv2d", "float16", "ieee", "channels_first", 2, 64, 64, 1, 1, 1, 32, 32, 1, 3, 3, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1)  # fmt: skip
STRIDED = Problem("conv_transpose2d", "float32", "tf32", "channels_last", 1, 32, 16, 1, 0, 1, 17, 19, 1, 4, 4, 1, 2, 2, 0, 1, 1, 0, 0, 0, 1, 1, 1)  # fmt: skip
DEPTHWISE = DENSE._replace(groups=64)


@pytest.mark.parametrize("problem", [DENSE, STRIDED, DEPTHWISE])
def test_every_candidate_is_valid_and_has_all_features(problem):
    """Each candidate solves the problem, comes once, and is as many numbers as the trees are given."""
    found = list(candidates(problem, H200, ()))
    assert found
    assert len(set(found)) == len(found)
    assert len(problem_features(problem, H200)) == len(PROBLEM)
    for name, config in found:
        assert not load(name).valid(problem, config, H200)
        assert len(config_features(problem, H200, name, config)) == len(CONFIG)


def test_kin_that_cannot_be_read_or_run_here_are_left_out():
    """A config of another shape, of an unknown kernel, or of torch adds nothing and raises nothing."""
    own = list(candidates(DENSE, H200, ()))
    kin = [
        Choice("packed", "{}"),
        Choice("packed", "no JSON"),
        Choice("elsewhere", "{}"),
        Choice("aten", "{}"),
    ]
    assert list(candidates(DENSE, H200, kin)) == own


def test_the_shortest_expected_time_is_chosen():
    """Trees that like programs of 8 warps choose one of 8 warps, and say what they expect."""
    warps = len(PROBLEM) + CONFIG.index("num_warps")
    likes = {"base": 0.0, "roots": [0], "column": [warps, -1, -1], "threshold": [4.0, 1.0, -1.0], "left": [1, 0, 0], "right": [2, 0, 0]}  # fmt: skip
    flat = {"base": 1.0, "roots": [], "column": [], "threshold": [], "left": [], "right": []}
    forests = {name: forest_of(likes if name == "config" else flat, count) for name, count in COLUMNS.items()}
    found = choose(Predictor(("h200",), forests, {}), DENSE, H200)
    assert found is not None
    assert found.config.num_warps == 8
    assert (found.gain, found.torch_us) == (2.0, pytest.approx(4 * found.own_us))


def test_times_of_a_tiny_problem_are_those_of_a_launch():
    """Where the floor is nanoseconds, what is learned is a multiple of what a launch takes."""
    pixel = DENSE._replace(n=1, in_h=1, in_w=1, k_h=1, k_w=1, padding_h=0, padding_w=0)
    assert 2 ** scale_log(pixel, H200) == pytest.approx(4.0, rel=0.01)
    large = DENSE._replace(n=512)
    assert 2 ** scale_log(large, H200) == pytest.approx(4.0 + floor_us(large, H200))
