"""A few problems that stand for many: each other one is as near to one of them as dispatch would borrow from.

The distance is that of `tunedb.distance`: doublings of work, row length, channels, taps, groups, strides and dilations, among
problems of one operation, layout and kind. A problem without any near one costs what lies at CLASS_LIMIT. Greedily the next
one is that which takes most of the cost of all away, each problem weighted by its models: within 37 % of the best choice of so
many, because what a choice saves only shrinks with further ones.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch

from tunedb.distance import CLASS_LIMIT, kind
from tunedb.problem import Problem
from zoo.suite_file import Layer

__all__ = ["covering", "features", "nearest"]

ROWS = 512  # problems whose distances to all others are in memory at once


def features(problem: Problem) -> tuple[float, ...]:
    """Return coordinates in which the sum of differences is `tunedb.distance.between_neighbours`."""
    c_in, c_out, taps, *steps = problem.layer_doublings
    return (*problem.doublings, c_in, c_out, *steps, 2 * taps)


def covering(layers: Sequence[Layer], most: int) -> list[int]:
    """Return the indices of at most so many layers that cover all best, the most useful first."""
    classes = [_Class(layers, indices) for indices in _grouped(layers)]
    chosen: list[int] = []
    while len(chosen) < min(most, len(layers)):
        best = max(classes, key=lambda one: one.best)
        chosen.append(best.take(best.first))
    return chosen


def nearest(layers: Sequence[Layer], chosen: Sequence[int]) -> list[float]:
    """Return each layer's distance to the nearest chosen one, CLASS_LIMIT where none is nearer."""
    found = [CLASS_LIMIT] * len(layers)
    for indices in _grouped(layers):
        if own := sorted(set(indices) & set(chosen)):
            points = _points(layers, indices)
            near = torch.cdist(points, _points(layers, own), p=1).amin(1).clamp(max=CLASS_LIMIT)
            for index, distance in zip(indices, near.tolist(), strict=True):
                found[index] = distance
    return found


class _Class:
    """Problems that may stand for each other: how far each is from a chosen one, and what choosing it would gain.

    A choice changes the distance of few problems, and only what these gave to others is counted anew.
    """

    def __init__(self, layers: Sequence[Layer], indices: Sequence[int]) -> None:
        self._indices = indices
        self._points = _points(layers, indices)
        self._weights = torch.tensor([layers[index].models for index in indices], dtype=torch.float64)
        self._left = torch.full((len(indices),), CLASS_LIMIT, dtype=torch.float64)
        self._gains = torch.zeros(len(indices), dtype=torch.float64)
        self._gain(torch.arange(len(indices)), torch.zeros_like(self._left), self._left)
        self._find()

    def take(self, at: int) -> int:
        """Choose a problem by its place; return its index among all."""
        apart = torch.cdist(self._points[at : at + 1], self._points, p=1)[0]
        before, self._left = self._left, torch.minimum(self._left, apart)
        changed = (apart < before).nonzero()[:, 0]
        self._gain(changed, before[changed], self._left[changed])
        self._gains[at] = -torch.inf
        self._find()
        return self._indices[at]

    def _gain(self, places: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> None:
        """Count what choosing each problem gains when these were at one distance from a chosen one, and are at another."""
        for rows, old, new in zip(places.split(ROWS), before.split(ROWS), after.split(ROWS), strict=True):
            apart = torch.cdist(self._points[rows], self._points, p=1)
            more = (new[:, None] - apart).clamp(min=0) - (old[:, None] - apart).clamp(min=0)
            self._gains += self._weights[rows] @ more

    def _find(self) -> None:
        self.first = int(self._gains.argmax())
        self.best = float(self._gains[self.first])


def _points(layers: Sequence[Layer], indices: Sequence[int]) -> torch.Tensor:
    return torch.tensor([features(layers[index].problem) for index in indices], dtype=torch.float64)


def _grouped(layers: Sequence[Layer]) -> list[list[int]]:
    groups: dict[object, list[int]] = defaultdict(list)
    for index, layer in enumerate(layers):
        problem = layer.problem
        groups[problem.op, problem.dtype, problem.precision, problem.layout, kind(problem)].append(index)
    return list(groups.values())
