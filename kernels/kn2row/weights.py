"""How kn2row lays out a weight: packed once for each weight tensor."""

from typing import TYPE_CHECKING

from tunedb.kernels.shared.weight_layouts import ALIGNMENT, by_group, nearest_tf32

from tunedb.problem import Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["width_major", "width_row"]


def width_row(problem: Problem) -> int:
    """Return the elements of a row of `width_major`: depth taps * height taps * input channels of a group, made up to ALIGNMENT."""
    return -(-problem.k_d * problem.k_h * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def width_major(problem: Problem, *, rounded: bool) -> Packer:
    """Return a packer to [groups, k_w, c_out of a group, width_row]: for every width tap the matrix of its product.

    A row is (depth tap, height tap, input channel), then zeros. `rounded` rounds float32 to the nearest TF32.
    """
    groups, row = problem.groups, width_row(problem)
    c_in, c_out = problem.c_in // groups, problem.c_out // groups
    others, k_w = problem.k_d * problem.k_h, problem.k_w

    def pack(weight: "Tensor") -> "Tensor":
        ordered = by_group(problem, weight).flatten(3, 4).permute(0, 4, 1, 3, 2)
        packed = weight.new_zeros(groups, k_w, c_out, row)
        packed[..., : others * c_in] = ordered.reshape(groups, k_w, c_out, others * c_in)
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)
