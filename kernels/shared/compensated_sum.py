"""Long float32 sums: how long a problem's are, whether the low bits that they lose may matter, and adding without that loss."""

from math import prod

import triton
import triton.language as tl  # noqa: F401 (the interpreter looks for it beside a jitted function)

from tunedb.problem import Problem

__all__ = ["add_compensated", "sum_length", "worth_compensating"]

LONG = 32  # products of a sum; of shorter ones no answer was too inexact


def sum_length(problem: Problem) -> int:
    """Return how many products the sum of an output far from the borders has."""
    taps = prod(problem.kernel) / (prod(problem.stride) if problem.transposed else 1)
    return max(1, round(taps * (problem.c_in // problem.groups)))


def worth_compensating(problem: Problem) -> tuple[int, ...]:
    """Return whether a search should try sums without compensation, 0, and with it, 1."""
    return (0, 1) if problem.dtype == "float32" and sum_length(problem) >= LONG else (0,)


@triton.jit
def add_compensated(total, excess, part):
    """Return total + part, and by how much rounding made that too large; `excess` is what the last call returned.

    Kahan, "Pracniques: further remarks on reducing truncation errors", CACM 8 (1965) 40: the error of a sum of many
    parts is about that of two. No compiler on the way may reorder sums of floats.
    """
    part -= excess
    new = total + part
    return new, (new - total) - part
