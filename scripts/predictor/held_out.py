"""Predictions of what is held out: a device, a generation's code, torch on Ada. Parts of check_predicted.py.

`expected` is what a time model that does not know what is asked about expects of each trial (times.TimeModel), as log2 of microseconds.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from trials.table import Row

from predictor.compared import Pick, of_keys, rank_correlation
from predictor.times import CHOSEN, Published, Trials, torch_trees
from tunedb.device import by_slug
from tunedb.dispatch.likely import LEAST, likely_faster
from tunedb.record import Choice
from tunedb.tune.choose_winner import UNTIMED
from tunedb.tune.predict.expected import SIGMA
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.torch_time import ADA, ratio_features

__all__ = ["generation", "known_elsewhere", "never_timed", "torch_on_ada"]

Array = np.ndarray[Any, Any]


def generation(trials: Trials, expected: Array, slug: str, least: int = 1) -> Iterator[Pick]:
    """Yield what a model of newer code alone picks, among the configs that were tried as older code, where they are at least so many."""
    few = {problem for (device, problem), places in of_keys(trials.keys).items() if device == slug and len(places) < least}  # fmt: skip
    yield from _best_expected(trials, expected, slug, few)


def never_timed(trials: Trials, expected: Array, known: str, slug: str) -> Iterator[Pick]:
    """Yield what a model of another device alone picks for problems that were timed there never, among what was tried here."""
    elsewhere = {problem for device, problem in trials.keys if device == known}
    yield from _best_expected(trials, expected, slug, elsewhere)


def _best_expected(trials: Trials, expected: Array, slug: str, leave: set[Any]) -> Iterator[Pick]:
    for (device, problem), places in of_keys(trials.keys).items():
        if device == slug and problem not in leave:
            took, hoped = trials.took[places], expected[places]
            first = int(np.argmin(hoped))
            yield Pick(
                2.0 ** took[first], CHOSEN * 2.0 ** hoped[first], 2.0 ** took.min(), correlation=rank_correlation(hoped, took)
            )  # fmt: skip


def known_elsewhere(
    trials: Trials, expected: Array, known: str, slug: str, only: Callable[[Row], bool] = lambda _: True
) -> Iterator[Pick]:
    """Yield what a predicted file of a device would answer, made from another device's data alone, for problems that both have timed.

    A config that was timed on the other device has that time, moved by the devices' facts, as torch's is. What was tried only here has the
    time that is expected of it. Of both kinds the pick is chosen as in such a file (`surest`), and held against the best of all that was
    timed here. A problem is left out where the other device's best config was not tried here: nothing says what that answer takes.
    `only` chooses among problems by any one of their rows here.
    """
    here, there = by_slug(slug), by_slug(known)
    guesses = math.log2(CHOSEN) + expected
    places_of = of_keys(trials.keys)
    for (device, problem), places in places_of.items():
        others = places_of.get((known, problem))
        if device != slug or others is None or not any(only(trials.rows[place]) for place in places):
            continue
        timed = {_choice(trials, place): trials.took[place] for place in others}
        if min(timed, key=lambda one: timed[one]) not in {_choice(trials, place) for place in places}:
            continue  # what its file would answer was never timed here
        torch_there = next((us for us in (trials.rows[place].aten_us for place in others) if us), None)
        if torch_there is None:
            continue
        guessed = guesses[places]
        moved = np.full(len(places), np.inf)
        for at, place in enumerate(places):
            if (us := timed.get(_choice(trials, place))) is not None:
                moved[at] = math.log2(moved_us(2.0**us, problem, there, here))
        known_here = np.isfinite(moved)
        guess = not known_here.any() or guessed[~known_here].min(initial=np.inf) < moved.min() - math.log2(UNTIMED)  # fmt: skip
        hoped = np.where(known_here, np.inf, guessed) if guess else moved
        first = int(np.argmin(hoped))
        hoped_us, torch = 2.0 ** hoped[first], moved_us(torch_there, problem, there, here)
        sure = likely_faster(hoped_us, torch, SIGMA["model" if guess else "proxy"], problem.dtype, here)
        yield Pick(
            2.0 ** trials.took[places[first]], hoped_us, 2.0 ** trials.took[places].min(), trials.rows[places[first]].aten_us, torch,
            answers=sure >= LEAST, correlation=rank_correlation(moved[known_here], trials.took[places[known_here]]),
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
