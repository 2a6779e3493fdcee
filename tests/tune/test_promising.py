"""What a search tries first: what is known, then what the predictor that ships expects most of."""

from collections import Counter
from math import log2

import pytest

from tunedb import kernel as kernels
from tunedb.device import by_slug
from tunedb.dispatch.unseen.choose import judged
from tunedb.dispatch.unseen.shipped import shipped_predictor
from tunedb.kernel import config_from_json
from tunedb.record import Choice
from tunedb.suite import load_suite
from tunedb.tune import promising
from tunedb.tune.predict.time_model import expected_log, time_model
from tunedb.tune.promising import FAR, KIN, LEAST, LED, begun, start
from tunedb.tune.search import Policy
from tunedb.tune.space import searched

LAYER = next(entry for entry in load_suite("models") if entry.op == "conv2d" and entry.kernel == (3, 3))
PROBLEM = LAYER.problem("float16", "ieee", "channels_first")
DEPTHWISE = PROBLEM._replace(
    c_in=1024, c_out=1024, groups=1024, n=8, in_h=30, in_w=30, k_h=7, k_w=7, padding_h=3, padding_w=3
)
KNOWN = Choice("implicit_gemm", "{}")


def space(slug="h100"):
    return searched(PROBLEM, by_slug(slug), kernels, measured=True)


def gains(found, ground):
    given = [(one.kernel, config_from_json(kernels.load(one.kernel), one.config)) for one in found]
    return [guess.gain for guess in judged(shipped_predictor(), PROBLEM, ground.device, given)]


def test_the_most_promising_come_behind_what_is_known():
    """Best first within each half, valid, each once, and not one kernel alone; the same in every run."""
    ground = space()
    first = start(ground, [KNOWN], [], 8)
    assert first == start(space(), [KNOWN], [], 8)
    assert first.policy == LED._replace(awaited=1 + LEAST)
    assert first.choices[0] == KNOWN
    best = first.choices[1 : 1 + LEAST]
    assert all(ground.admits(one) == one for one in best)
    assert len(set(best)) == LEAST
    assert max(Counter(one.kernel for one in best).values()) <= LEAST // 2
    expected = gains(best, ground)
    assert expected[0] == max(expected)
    assert expected[0] >= max(gains(ground.defaults(), ground))


def test_a_winner_of_a_similar_problem_is_judged_too():
    """One that is expected to be the best is tried wherever it stood among its like, behind none but a neighbour that promises more."""
    ground = space()
    best = start(ground, [], [], 8).choices[0]
    others = [one for one in ground.defaults() if one != best]
    found = start(ground, [], [*others, best], 8).choices
    assert best in found
    assert gains(found[:1], ground) >= gains([best], ground)


def test_a_search_leaves_out_defaults_that_are_far_behind():
    """A long one goes twice as far (in doublings), so that a wrong prediction costs trials and no answer."""
    ground = space()
    found = [start(ground, [], [], trials).choices for trials in (8, 60)]
    for choices, far in zip(found, (FAR, 2 * FAR), strict=True):
        limit = gains(choices[:1], ground)[0] - far
        left_out = [one for one in ground.defaults() if one not in choices]
        assert left_out
        assert all(gain < limit for gain in gains(left_out, ground))
    assert len(found[1]) > len(found[0])


def test_other_kernels_get_no_trials_where_they_should_take_twice_as_long():
    """Of a depthwise layer all best guesses are configs of that kernel, and a long search still has other defaults within four times."""
    ground = searched(DEPTHWISE, by_slug("h100"), kernels, measured=True)
    short, long = (start(ground, [], [], trials).choices for trials in (8, 60))
    assert {one.kernel for one in short} == {"depthwise"}
    given = [(one.kernel, config_from_json(kernels.load(one.kernel), one.config)) for one in long]
    expected = [guess.gain for guess in judged(shipped_predictor(), DEPTHWISE, ground.device, given)]
    assert min(expected) >= max(expected) - 2 * FAR


def test_a_search_takes_them_in_that_order():
    """It adds no defaults of its own."""
    ground = space()
    search = begun(ground, 8)
    assert [search.ask() for _ in range(8)] == start(ground, [], [], 8).choices[:8]


@pytest.mark.parametrize("slug", ["4090", "h100-sm89", "3090"])
def test_other_gpus_begin_with_the_time_model(slug):
    """A device that the predictor does not know begins with the configs of which the time model expects the shortest times."""
    ground = space(slug)
    found = start(ground, [KNOWN], [], 8)
    model = time_model()
    times = [
        expected_log(model, ground.problem, ground.device, one.kernel, config_from_json(ground.kernels[one.kernel], one.config))
        for one in found.choices[1:]
    ]  # fmt: skip
    assert (found.choices[0], found.policy.leaders, times[0]) == (KNOWN, LED.leaders, min(times))
    defaults = [
        expected_log(model, ground.problem, ground.device, one.kernel, config_from_json(ground.kernels[one.kernel], one.config))
        for one in ground.defaults()
    ]  # fmt: skip
    assert times[0] <= min(defaults)


@pytest.mark.parametrize("why", ["nothing can be read", "sizes that it cannot judge"])
def test_without_a_prediction(monkeypatch, why):
    """What is known, a few winners of similar problems, and the search's own way on."""

    def missing():
        raise OSError(2, "no such file")

    if why == "nothing can be read":
        monkeypatch.setattr(promising, "shipped_predictor", lambda: None)
        monkeypatch.setattr(promising, "time_model", missing)
    elif why == "sizes that it cannot judge":
        monkeypatch.setattr(promising, "judged", lambda *_: iter([log2(0)]))
    ground = space("h100")
    kin = ground.defaults()[:1] * (KIN + 1)
    assert start(ground, [KNOWN], kin, 8) == ([KNOWN, *kin[:KIN]], Policy())
