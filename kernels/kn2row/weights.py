"""How kn2row lays out a weight: a matrix for every width tap."""

from tunedb.kernels.shared.weight_layouts import ALIGNMENT, weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["width_major", "width_row"]


def width_row(problem: Problem) -> int:
    """Return the elements of a row of `width_major`: depth taps * height taps * input channels of a group, made up to ALIGNMENT."""
    return -(-problem.k_d * problem.k_h * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def width_major(problem: Problem, *, rounded: bool) -> Layout:
    """Return the layout [groups, k_w, c_out of a group, width_row]: for every width tap the matrix of its product.

    A row is (depth tap, height tap, input channel), then zeros.
    """
    groups, c_out = problem.groups, problem.c_out // problem.groups
    return weight_layout(
        problem,
        level(groups, group=groups),
        level(problem.k_w, k_w=problem.k_w),
        level(c_out, c_out=c_out),
        level(width_row(problem), k_d=problem.k_d, k_h=problem.k_h, c_in=problem.c_in // groups),
        rounded=rounded,
    )
