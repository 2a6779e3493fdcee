"""Predictions of what is held out: a device, a generation's code, torch on Ada. Parts of check_predicted.py."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from predictor.compared import Pick, of_keys, rank_correlation
from predictor.times import CHOSEN, Published, Trials, spill_cost, time_trees, torch_trees
from tunedb.device import Device, by_slug
from tunedb.dispatch.likely import LEAST, likely_faster
from tunedb.kernel import config_from_json, load
from tunedb.record import Choice
from tunedb.tune.predict.expected import SIGMA
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.time_model import base_log, features
from tunedb.tune.predict.torch_time import ADA, ratio_features

__all__ = ["generation", "known_elsewhere", "never_timed", "torch_on_ada"]

Array = np.ndarray[Any, Any]


def generation(trials: Trials, slug: str) -> Iterator[Pick]:
    """Yield what trees that know newer code alone pick, among the configs that were tried as older code."""
    yield from _best_expected(
        trials, np.array([by_slug(one).arch is None for one in trials.slugs]), slug, set()
    )


def never_timed(trials: Trials, known: str, slug: str) -> Iterator[Pick]:
    """Yield what trees that know another device alone pick for problems that were timed there never, among what was tried here."""
    elsewhere = {problem for device, problem in trials.keys if device == known}
    yield from _best_expected(trials, trials.slugs == known, slug, elsewhere)


def _best_expected(trials: Trials, known: Array, slug: str, leave: set[Any]) -> Iterator[Pick]:
    spill = spill_cost(trials, known)
    expected = (
        np.asarray(time_trees(trials, known).predict(trials.features)) + trials.base + spill * trials.spills
    )
    for (device, problem), places in of_keys(trials.keys).items():
        if device == slug and not known[places[0]] and problem not in leave:
            took, hoped = trials.took[places], expected[places]
            first = int(np.argmin(hoped))
            yield Pick(
                2.0 ** took[first], CHOSEN * 2.0 ** hoped[first], 2.0 ** took.min(), correlation=rank_correlation(hoped, took)
            )  # fmt: skip


def known_elsewhere(trials: Trials, known: str, slug: str) -> Iterator[Pick]:
    """Yield what another device's data alone picks for a device, among what both have timed of a problem.

    Times are moved by trees that know that device alone, torch's by the devices' facts. Best is the best of all that was timed here.
    """
    here, there = by_slug(slug), by_slug(known)
    trees = time_trees(trials, trials.slugs == known)
    places_of = of_keys(trials.keys)
    for (device, problem), places in places_of.items():
        others = places_of.get((known, problem))
        if device != slug or others is None:
            continue
        timed = {_choice(trials, place): trials.took[place] for place in others}
        both = [place for place in places if _choice(trials, place) in timed]
        torch_there = next((us for us in (trials.rows[place].aten_us for place in others) if us), None)
        if not both or torch_there is None:
            continue
        moved = [
            timed[_choice(trials, place)] + _here_over_there(trials, trees, place, there) for place in both
        ]
        first = int(np.argmin(moved))
        expected, torch = 2.0 ** moved[first], moved_us(torch_there, problem, there, here)
        sure = likely_faster(expected, torch, SIGMA["proxy"], problem.dtype, here)
        yield Pick(
            2.0 ** trials.took[both[first]], expected, 2.0 ** trials.took[places].min(), trials.rows[both[first]].aten_us, torch,
            answers=sure >= LEAST, correlation=rank_correlation(np.array(moved), trials.took[both]),
        )  # fmt: skip


def torch_on_ada(published: Published) -> dict[str, list[float]]:
    """Return by card how far torch's expected time is off, each layer left out of the fit in turn: log2 of expected over published."""
    found: dict[str, list[float]] = {"L40S": [], "L4": []}
    for one in published.layers:
        others = published.without(one.id)
        trees = torch_trees(others)
        ada = one.hopper_us * 2 ** trees.predict([ratio_features(one.problem, one.hopper_us)])[0]
        l4 = moved_us(ada, one.problem, by_slug(ADA), by_slug("l4")) * others.slower["l4"]
        found["L40S"].append(math.log2(ada / one.published["L40S"]))
        found["L4"].append(math.log2(l4 / one.published["L4"]))
    return found


def _choice(trials: Trials, place: int) -> Choice:
    row = trials.rows[place]
    return Choice(row.kernel, row.config)


def _here_over_there(trials: Trials, trees: Any, place: int, there: Device) -> float:
    """Return log2 of what a trial is expected to take on its device over what it is on another."""
    row = trials.rows[place]
    config = config_from_json(load(row.kernel), row.config)
    other = features(row.problem, there, row.kernel, config)
    here, away = trees.predict(np.array([trials.features[place], other]))
    return float(here + trials.base[place] - away - base_log(row.problem, there, other))
