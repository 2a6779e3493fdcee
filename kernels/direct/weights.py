"""How direct lays out a weight, packed once for each weight tensor: a thread's output channels are neighbours, to load as a vector.

tap 0:  | c_in 0: n0 n1 n2 n3 .. | c_in 1: n0 n1 n2 n3 .. | ...      then tap 1, and so on
"""

import math
from typing import TYPE_CHECKING

from tunedb.kernels.shared.weight_layouts import by_group

from tunedb.problem import Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["column_major"]


def column_major(problem: Problem, *, rows: int, row: int) -> Packer:
    """Return a packer to [groups, taps, rows, row]: each row has the weights of all output channels for one input channel.

    `rows` and `row` are the input and output channels of a group, padded with zeros.
    """
    taps, groups = math.prod(problem.kernel), problem.groups
    c_in, c_out = problem.c_in // groups, problem.c_out // groups

    def pack(weight: "Tensor") -> "Tensor":
        packed = weight.new_zeros(groups, taps, rows, row)
        packed[:, :, :c_in, :c_out] = by_group(problem, weight).flatten(3).permute(0, 3, 2, 1)
        return packed

    return Packer(pack)
