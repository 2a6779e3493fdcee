"""Boosted trees as plain arrays: read from a file, walked in Python. Nothing but the standard library."""

import gzip
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["VERSION", "Forest", "Predictor", "forest_of", "read_predictor"]

VERSION = 1
LARGEST = 4_000_000  # bytes of the text: a file that is larger is not read


class Forest(NamedTuple):
    """Trees, one after the other: node i asks whether features[column[i]] <= threshold[i].

    `left` and `right` are nodes of the same arrays; a leaf has column -1, and its value is its threshold.
    """

    base: float
    roots: tuple[int, ...]
    column: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def value(self, features: Sequence[float]) -> float:
        """Return the sum over all trees."""
        column, threshold, left, right = self.column, self.threshold, self.left, self.right
        total = self.base
        for node in self.roots:
            while (at := column[node]) >= 0:
                node = left[node] if features[at] <= threshold[node] else right[node]  # noqa: PLW2901 (a walk)
            total += threshold[node]
        return total

    def values(self, about: Sequence[float], each: Sequence[Sequence[float]]) -> list[float]:
        """Return the value of `about` with each of these behind it.

        A tree is walked once for all that answer its questions alike: a set of them is an integer with a bit for each.
        """
        if not each:
            return []
        column, threshold, left, right = self.column, self.threshold, self.left, self.right
        everyone, given = (1 << len(each)) - 1, [*about, *each[0]]
        unlike = {
            at: _Values(some)
            for at, some in enumerate(zip(*each, strict=True), len(about))
            if len(set(some)) > 1
        }
        sums: dict[int, float] = {}
        for root in self.roots:
            node, those, later = root, everyone, []
            while True:
                while (at := column[node]) >= 0:
                    if (values := unlike.get(at)) is None:
                        node = left[node] if given[at] <= threshold[node] else right[node]
                        continue
                    low = those & values.lower[bisect_right(values.ordered, threshold[node])]
                    if low == those:
                        node = left[node]
                    elif not low:
                        node = right[node]
                    else:
                        later.append((right[node], those ^ low))
                        node, those = left[node], low
                sums[those] = sums.get(those, 0.0) + threshold[node]
                if not later:
                    break
                node, those = later.pop()
        totals = [self.base] * len(each)
        for those, total in sums.items():
            while those:
                last = those & -those
                totals[last.bit_length() - 1] += total
                those ^= last  # noqa: PLW2901 (bits are taken off)
        # The order of a sum depends on who else is asked: those that no question tells apart must be equal whoever is.
        return [round(total, 9) for total in totals]


class _Values:
    """What some have in one column: the different values, smallest first, and who has one of the first so many."""

    __slots__ = ("lower", "ordered")

    def __init__(self, values: Sequence[float]) -> None:
        self.ordered = sorted(set(values))
        having = dict.fromkeys(self.ordered, 0)
        for place, value in enumerate(values):
            having[value] |= 1 << place
        self.lower = [0, *accumulate(having.values(), or_)]


class Predictor(NamedTuple):
    """What trials taught: logarithms (base 2) of times over a scale that who uses it knows."""

    devices: tuple[str, ...]  # slugs of the devices that it knows
    forests: Mapping[
        str, Forest
    ]  # for unswept problems "torch" of a problem, "config" of a problem and a config
    facts: Mapping[str, Any]  # what it rests on, for explain


def read_predictor(path: Path, columns: Mapping[str, int]) -> Predictor:
    """Return a file's predictor. `columns` says how many features each forest is given.

    Raises OSError: for a file that cannot be read. Raises ValueError: for one that is no predictor of this version, or whose
    trees would not end or ask for features that there are not.
    """
    with gzip.open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"a predictor must have at most {LARGEST} bytes, but {path} has more.")
    try:
        given = json.loads(data)
        if given["version"] != VERSION:
            raise ValueError(
                f"a predictor must be of version {VERSION}, but {path} is of {given['version']}."
            )
        forests = {name: forest_of(given["forests"][name], count) for name, count in columns.items()}
        return Predictor(tuple(map(str, given["devices"])), forests, dict(given["facts"]))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"a predictor must have devices, forests and facts, but {path} has not: {error!r}."
        ) from error


def forest_of(given: Mapping[str, Any], columns: int) -> Forest:
    base, names = float(given["base"]), ("roots", "column", "threshold", "left", "right")
    roots, column, threshold, left, right = (tuple(given[name]) for name in names)
    nodes = len(column)
    if not len(threshold) == len(left) == len(right) == nodes:
        raise ValueError("the arrays of a forest must have one length.")
    for name, values, least, most in (("roots", roots, 0, nodes), ("column", column, -1, columns)):
        if not all(type(value) is int and least <= value < most for value in values):
            raise ValueError(f"{name} of a forest must be integers from {least} to below {most}.")
    # Children come after their parent, so that every walk ends.
    for node in range(nodes):
        if column[node] >= 0 and not all(
            type(child) is int and node < child < nodes for child in (left[node], right[node])
        ):
            raise ValueError(f"the children of node {node} must come after it.")
    return Forest(base, roots, column, tuple(map(float, threshold)), left, right)
