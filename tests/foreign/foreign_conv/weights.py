"""How the naive convolution lays out a weight: packed once for each weight tensor."""

from typing import TYPE_CHECKING

from tunedb.problem import Problem
from tunedb.weights.cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["channels_inside"]


def channels_inside(problem: Problem) -> Packer:
    """Return a packer to [taps, c_in of a group, c_out], so that neighbouring output channels are neighbours."""
    groups = problem.groups
    c_in, c_out = problem.c_in // groups, problem.c_out // groups

    def pack(weight: "Tensor") -> "Tensor":
        if problem.transposed:  # torch has [c_in, c_out of a group, taps]
            by_group = weight.reshape(groups, c_in, c_out, -1).permute(3, 1, 0, 2)
        else:  # [c_out, c_in of a group, taps]
            by_group = weight.reshape(groups, c_out, c_in, -1).permute(3, 2, 0, 1)
        return by_group.reshape(-1, c_in, groups * c_out).contiguous()

    return Packer(pack)
