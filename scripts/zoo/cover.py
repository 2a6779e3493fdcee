"""A few problems that stand for many: each other one is as near to one of them as dispatch would borrow from.

The distance is that of `tunedb.distance`: doublings of work, row length, channels, taps, groups, strides and dilations, among
problems of one operation, layout and kind. A problem without any near one costs what lies at CLASS_LIMIT. Greedily the next
one is that which takes most of the cost of all away, each problem weighted by its models: within 37 % of the best choice of so
many, because what a choice saves only shrinks with further ones.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from math import log2

import torch

from tunedb.distance import CLASS_LIMIT, kind, work
from tunedb.problem import Problem
from zoo.suite_file import Layer

__all__ = ["covering", "features", "nearest"]


def features(problem: Problem) -> tuple[float, ...]:
    """Return coordinates in which the sum of differences is `tunedb.distance.between_neighbours`."""
    sizes = (
        work(problem), problem.in_w, problem.c_in // problem.groups, problem.c_out // problem.groups, problem.groups,
        *problem.stride, *problem.dilation,
    )  # fmt: skip
    return (*(log2(max(1, size)) for size in sizes), 2 * log2(problem.k_d * problem.k_h * problem.k_w))


def covering(layers: Sequence[Layer], most: int) -> list[int]:
    """Return the indices of at most so many layers that cover all best, the most useful first."""
    weights = torch.tensor([float(layer.models) for layer in layers])
    homes, points = _classes(layers)
    left = torch.full((len(layers),), CLASS_LIMIT)  # the distance to what is chosen

    def gain(index: int) -> float:
        home = homes[index]
        return float((weights[home] * (left[home] - _apart(points, index, home)).clamp(min=0)).sum())

    # What a layer gained earlier bounds what it gains now, so only those at the top are judged again.
    heap = [(-gain(index), index) for index in range(len(layers))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < most:
        _, index = heapq.heappop(heap)
        now = gain(index)
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, index))
            continue
        chosen.append(index)
        home = homes[index]
        left[home] = torch.minimum(left[home], _apart(points, index, home))
    return chosen


def nearest(layers: Sequence[Layer], chosen: Sequence[int]) -> list[float]:
    """Return each layer's distance to the nearest chosen one, CLASS_LIMIT where none is nearer."""
    homes, points = _classes(layers)
    left = torch.full((len(layers),), CLASS_LIMIT)
    for index in chosen:
        left[homes[index]] = torch.minimum(left[homes[index]], _apart(points, index, homes[index]))
    return left.tolist()


def _apart(points: torch.Tensor, index: int, home: torch.Tensor) -> torch.Tensor:
    return (points[home] - points[index]).abs().sum(1)


def _classes(layers: Sequence[Layer]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return for each layer the indices of its class, and the coordinates of all."""
    groups: dict[object, list[int]] = defaultdict(list)
    keys = []
    for index, layer in enumerate(layers):
        problem = layer.problem
        keys.append((problem.op, problem.dtype, problem.precision, problem.layout, kind(problem)))
        groups[keys[-1]].append(index)
    tensors = {key: torch.tensor(group) for key, group in groups.items()}
    return [tensors[key] for key in keys], torch.tensor([features(layer.problem) for layer in layers])
