"""How implicit_gemm lays out a weight: K-major.

row of an output channel:  | tap 0: c0 c1 c2 .. | tap 1: c0 c1 c2 .. | ... | zeros |
"""

import math

from tunedb.kernels.shared.weight_layouts import ALIGNMENT, weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["k_major", "row_length"]


def row_length(problem: Problem) -> int:
    """Return the elements of a row of a K-major packed weight: taps * input channels of a group, padded."""
    return -(-math.prod(problem.kernel) * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def k_major(problem: Problem, *, rounded: bool) -> Layout:
    """Return the layout [c_out, row_length]: for each output channel the taps, for each tap the channels."""
    k_d, k_h, k_w = problem.kernel
    groups = problem.groups
    return weight_layout(
        problem,
        level(problem.c_out, group=groups, c_out=problem.c_out // groups),
        level(row_length(problem), k_d=k_d, k_h=k_h, k_w=k_w, c_in=problem.c_in // groups),
        rounded=rounded,
    )
