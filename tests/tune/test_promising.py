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
    assert first.policy == LED
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


def test_a_short_search_leaves_out_what_is_far_behind():
    """A long one tries the default of each kernel, so that a wrong prediction costs trials and no answer."""
    ground = space()
    short, long = (start(ground, [], [], trials).choices for trials in (8, 60))
    behind = [one for one in ground.defaults() if one not in short]
    limit = gains(short[:1], ground)[0] - FAR
    assert all(gain < limit for gain in gains(behind, ground))
    assert set(ground.defaults()) <= set(long)
    assert len(long) > len(short)


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
    assert (found.choices[0], found.policy, times[0]) == (KNOWN, LED, min(times))
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
