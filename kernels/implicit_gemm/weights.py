"""How implicit_gemm lays out a weight: K-major, packed once for each weight tensor.

row of an output channel:  | tap 0: c0 c1 c2 .. | tap 1: c0 c1 c2 .. | ... | zeros |
"""

import math
from typing import TYPE_CHECKING

from tunedb.kernels.shared.weight_layouts import ALIGNMENT, by_group, nearest_tf32

from tunedb.problem import Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["k_major", "row_length"]


def row_length(problem: Problem) -> int:
    """Return the elements of a row of a K-major packed weight: taps * input channels of a group, padded."""
    return -(-math.prod(problem.kernel) * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def k_major(problem: Problem, *, rounded: bool) -> Packer:
    """Return a packer to [c_out, row_length]: for each output channel the taps, for each tap the channels.

    `rounded` rounds float32 to the nearest TF32, as the kernel then need not: it halves the error of a product.
    """
    taps, groups, row = math.prod(problem.kernel), problem.groups, row_length(problem)
    c_in, c_out = problem.c_in // groups, problem.c_out // groups

    def pack(weight: "Tensor") -> "Tensor":
        ordered = by_group(problem, weight).flatten(3).permute(0, 1, 3, 2)
        packed = weight.new_zeros(groups * c_out, row)
        packed[:, : taps * c_in] = ordered.reshape(groups * c_out, taps * c_in)
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)
