"""How far a right kernel's output can be from the exact result, element by element: a bound by format and number of terms.

For a sum of K products in any order, with unit roundoff u (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed.,
2002, sections 3.1, 3.3 and 4.2):

    |computed - exact| <= gamma_n * sum |x| |w|        gamma_n = n u / (1 - n u)

n counts the roundings that a term may go through. CUDA cores round to nearest, u = 2^-24, once a product and once an addition.
Matrix units multiply exactly, align the terms of a block to the largest, and truncate: u = 2^-23, and up to two truncations a
term (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7, 2021, e330).
To this come, for a factor rounded to TF32, 2^-11 of it; for three products of TF32, what two TF32 numbers leave of a factor, 2^-23
of it, and the product of the two low parts, which is dropped; and the rounding of the result to the output's dtype, where the
bias is added to a stored result also the rounding before it. The bound holds whatever the numbers; errors of random numbers are far below it.
"""

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.measure.reference import Part, reference
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Arithmetic", "arithmetic_of", "farthest", "longest_sum", "magnitudes"]

NEAREST, TRUNCATED = 2.0**-24, 2.0**-23  # of float32, by one rounding
TF32 = 2.0**-11  # of a factor, rounded to nearest
PAIR = 2.0**-23  # of a factor that is two TF32 numbers: the second loses at most the last of 24 bits
STORED = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # sums are float32 until they are stored
TINY = {"float32": 2.0**-126, "float16": 2.0**-25, "bfloat16": 2.0**-126}  # below the normal numbers


class Arithmetic(NamedTuple):
    """What rounds."""

    unit: str  # "fma", or "tensor"
    products: str  # "ieee": exact in float32 or rounded once; "tf32"; "tf32x3"
    stored: int = 1  # times that an output is rounded to its dtype; 2: once more when the bias is added


def arithmetic_of(kernel: Any, problem: Problem, config: Any) -> Arithmetic:
    """Return the arithmetic of a config: of its DOT where it has one, else what the kernel says multiplies.

    A kernel that says nothing has what the problem's precision permits.
    """
    if hasattr(kernel, "work"):
        unit = kernel.work(problem, config).unit
    else:
        unit = "fma" if (problem.dtype, problem.precision) == ("float32", "ieee") else "tensor"
    if problem.dtype != "float32":
        return Arithmetic(unit, "ieee", kernel.roundings(problem) if hasattr(kernel, "roundings") else 1)
    products = getattr(config, "DOT", "tf32" if unit == "tensor" else "ieee")
    return Arithmetic("fma" if products == "ieee" else "tensor", products)


def longest_sum(problem: Problem) -> int:
    """Return the number of products of the output that has most, the bias counted as one."""
    taps = problem.kernel
    if problem.transposed:  # outputs of one residue share the taps that meet an input
        taps = tuple(
            max(Counter(tap * dilation % stride for tap in range(size)).values())
            for size, dilation, stride in zip(problem.kernel, problem.dilation, problem.stride, strict=True)
        )
    return prod(taps) * (problem.c_in // problem.groups) + problem.bias


def magnitudes(
    problem: Problem, x: "Tensor", weight: "Tensor", bias: "Tensor | None", part: Part
) -> "Tensor":
    """Return sum |x| |w| + |bias| of a part's outputs: float64, as `reference`."""
    return reference(problem, x.abs(), weight.abs(), None if bias is None else bias.abs(), part)


def farthest(
    problem: Problem,
    arithmetic: Arithmetic,
    exact: "Tensor",
    magnitude: "Tensor",
    bias: "Tensor | None" = None,
) -> "Tensor":
    """Return how far each output may be from the exact one: float64, of the reference's shape.

    `magnitude` is of `magnitudes`; `bias`, of the whole problem, is asked for where an output is rounded twice.
    """
    terms = longest_sum(problem)
    factors = 0.0
    if arithmetic.products == "tf32":
        factors = 2 * TF32 + TF32**2
    elif arithmetic.products == "tf32x3":
        factors = 2 * PAIR + PAIR**2 + (TF32 * (1 + TF32)) ** 2
    # A high product goes through the additions of its own block and one of every block's sum; low ones are 2^-11 of it, and may go
    # through those of all three blocks.
    roundings = {"ieee": 2, "tf32": 2, "tf32x3": 4}[arithmetic.products] * terms
    unit = TRUNCATED
    if arithmetic.unit == "fma":
        roundings, unit = terms + 1, NEAREST
    gamma = roundings * unit / (1 - roundings * unit)
    summed = (factors + gamma * (1 + factors)) * magnitude
    stored = STORED[problem.dtype]
    if arithmetic.stored == 2:
        assert bias is not None
        of_channel = bias.double().abs().reshape(1, problem.groups, -1, 1, 1, 1)
        summed = summed + stored * (exact.abs() + of_channel + summed)  # of the sum without the bias
    return summed + stored * (exact.abs() + summed) + (terms + 1) * TINY[problem.dtype]
