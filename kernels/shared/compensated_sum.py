"""Long float32 sums: how many products a problem's have, when rounding errors may matter, and compensated addition."""

from math import prod

import triton
import triton.language as tl  # noqa: F401 (the interpreter needs it in the module of a jitted function)

from tunedb.problem import Problem

__all__ = ["add_compensated", "sum_length", "worth_compensating"]

LONG = 32  # products; sums of fewer never failed the error check


def sum_length(problem: Problem) -> int:
    """Return how many products an output away from the borders sums, on average over residues."""
    taps = prod(problem.kernel) / (prod(problem.stride) if problem.transposed else 1)
    return max(1, round(taps * (problem.c_in // problem.groups)))


def worth_compensating(problem: Problem) -> tuple[int, ...]:
    """Return the values of COMPENSATED that a search should try: 0, and 1 where sums are float32 and long."""
    return (0, 1) if problem.dtype == "float32" and sum_length(problem) >= LONG else (0,)


@triton.jit
def add_compensated(total, excess, part):
    """Return the rounded total + part, and by how much rounding made it too large: the `excess` to give to the next call.

    Kahan, "Pracniques: further remarks on reducing truncation errors", CACM 8 (1965) 40: however many parts there are, the
    error stays about that of adding two. None of the compilers on the way may reorder sums of floats.
    """
    part -= excess
    new = total + part
    return new, (new - total) - part
