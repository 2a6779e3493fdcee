"""Figures of predictions that are held against what was measured: parts of check_predicted.py."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Pick", "figures", "rank_correlation"]

Array = np.ndarray[Any, Any]
LEAST = 10  # configs of a problem: fewer rank by chance
SLOWER = 0.97


class Pick(NamedTuple):
    """What was picked for one problem. Times in microseconds, None where nothing is known."""

    took_us: float  # the pick, measured
    expected_us: float
    best_us: float  # the fastest config that was measured
    torch_us: float | None = None
    torch_expected_us: float | None = None
    answers: bool = True  # it is taken in torch's place
    correlation: float | None = None  # of expected and measured ranks within the problem


def figures(picks: Sequence[Pick]) -> dict[str, Any]:
    """Return a table's figures: geometric mean and least of best over pick, medians of errors, the share of answers slower than torch."""
    shares = [one.best_us / one.took_us for one in picks]
    ranked = [one.correlation for one in picks if one.correlation is not None]
    errors = [abs(one.expected_us / one.took_us - 1) for one in picks]
    torch = [
        abs(one.torch_expected_us / one.torch_us - 1)
        for one in picks
        if one.torch_us and one.torch_expected_us
    ]
    given = [one for one in picks if one.answers and one.torch_us]
    slower = [one for one in given if one.torch_us and one.torch_us / one.took_us < SLOWER]
    return {
        "problems": len(picks),
        "of_swept": round(float(statistics.geometric_mean(shares)), 3),
        "lowest": round(float(min(shares)), 3),
        "rank_correlation": round(statistics.median(ranked), 3) if ranked else None,
        "time_error": round(float(statistics.median(errors)), 3),
        "torch_time_error": round(statistics.median(torch), 3) if torch else None,
        "below_0_97": round(len(slower) / len(given), 3) if given else None,
        "answers": len(given),
    }


def rank_correlation(expected: Array, measured: Array) -> float | None:
    """Return Spearman's rank correlation, None for fewer configs than LEAST."""
    if len(expected) < LEAST:
        return None
    found = np.corrcoef(_ranks(expected), _ranks(measured))[0, 1]
    return float(found) if math.isfinite(found) else 0.0


def _ranks(values: Array) -> Array:
    """Return the rank of each value, equal ones sharing their mean."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2


def of_keys(keys: Sequence[Any]) -> Mapping[Any, Array]:
    """Return the places of each key."""
    found: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return {key: np.array(places) for key, places in found.items()}
