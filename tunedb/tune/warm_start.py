"""Which winners a search considers: those of the most similar problems."""

from collections.abc import Mapping

from tunedb.distance import between_neighbours
from tunedb.problem import Problem
from tunedb.record import Choice

__all__ = ["nearest"]


def nearest(problem: Problem, winners: Mapping[Problem, Choice], limit: int = 3) -> list[Choice]:
    """Return the winners of the most similar problems: same direction and dtype, closest sizes by factor."""
    near = [
        other for other in winners if (other.transposed, other.dtype) == (problem.transposed, problem.dtype)
    ]
    near.sort(key=lambda other: _distance(problem, other))
    return list(dict.fromkeys(winners[other] for other in near))[:limit]


def _distance(one: Problem, other: Problem) -> float:
    """Return the doublings between two problems' sizes; another operation, precision or layout counts as several."""
    names = sum(
        3.0 for field in ("op", "precision", "layout") if getattr(one, field) != getattr(other, field)
    )
    return names + between_neighbours(one, other)
