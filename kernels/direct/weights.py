"""How direct lays out a weight: a thread's output channels are neighbours, to load as a vector.

tap 0:  | c_in 0: n0 n1 n2 n3 .. | c_in 1: n0 n1 n2 n3 .. | ...      then tap 1, and so on
"""

import math

from tunedb.kernels.shared.weight_layouts import weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["column_major"]


def column_major(problem: Problem, *, rows: int, row: int) -> Layout:
    """Return the layout [groups, taps, rows, row]: each row has the weights of all output channels for one input channel.

    `rows` and `row` are the input and output channels of a group, padded with zeros.
    """
    k_d, k_h, k_w = problem.kernel
    return weight_layout(
        problem,
        level(problem.groups, group=problem.groups),
        level(math.prod(problem.kernel), k_d=k_d, k_h=k_h, k_w=k_w),
        level(rows, c_in=rows),
        level(row, c_out=row),
    )
