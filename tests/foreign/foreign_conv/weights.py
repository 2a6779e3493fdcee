"""How the naive convolution lays out a weight: packed once for each weight tensor."""

import math

from tunedb.kernels.shared.weight_layouts import weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["channels_inside"]


def channels_inside(problem: Problem) -> Layout:
    """Return the layout [taps, c_in of a group, c_out], so that neighbouring output channels are neighbours."""
    groups = problem.groups
    k_d, k_h, k_w = problem.kernel
    return weight_layout(
        problem,
        level(math.prod(problem.kernel), k_d=k_d, k_h=k_h, k_w=k_w),
        level(problem.c_in // groups, c_in=problem.c_in // groups),
        level(problem.c_out, group=groups, c_out=problem.c_out // groups),
    )
