"""How depthwise lays out a weight: the channels of a tap are neighbours."""

import math

from tunedb.kernels.shared.weight_layouts import weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["tap_major"]


def tap_major(problem: Problem) -> Layout:
    """Return the layout [taps, c_out] of depthwise weights, whose groups have one input channel."""
    k_d, k_h, k_w = problem.kernel
    return weight_layout(
        problem,
        level(math.prod(problem.kernel), k_d=k_d, k_h=k_h, k_w=k_w),
        level(problem.c_out, group=problem.groups, c_out=problem.c_out // problem.groups),
    )
