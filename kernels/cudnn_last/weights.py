"""How cudnn_last lays out a weight: as torch does in channels_last."""

import math

from tunedb.kernels.shared.weight_layouts import weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["channels_inside"]


def channels_inside(problem: Problem) -> Layout:
    """Return the layout [first dimension, taps, second dimension] of torch's weight of one group."""
    k_d, k_h, k_w = problem.kernel
    taps = level(math.prod(problem.kernel), k_d=k_d, k_h=k_h, k_w=k_w)
    c_in, c_out = level(problem.c_in, c_in=problem.c_in), level(problem.c_out, c_out=problem.c_out)
    return (
        weight_layout(problem, c_in, taps, c_out)
        if problem.transposed
        else weight_layout(problem, c_out, taps, c_in)
    )
