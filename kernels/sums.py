"""How long a problem's sums are, and whether the low bits that they lose may matter."""

from math import prod

from tunedb.problem import Problem

__all__ = ["sum_length", "worth_compensating"]

LONG = 32  # products of a sum; of shorter ones no answer was too inexact


def sum_length(problem: Problem) -> int:
    """Return how many products the sum of an average output has."""
    taps = prod(problem.kernel) / (prod(problem.stride) if problem.transposed else 1)
    return max(1, round(taps * (problem.c_in // problem.groups)))


def worth_compensating(problem: Problem) -> tuple[int, ...]:
    """Return whether a search should try sums without compensation, 0, and with it, 1."""
    return (0, 1) if problem.dtype == "float32" and sum_length(problem) >= LONG else (0,)
