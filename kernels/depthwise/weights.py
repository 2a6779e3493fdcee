"""How depthwise lays out a weight, packed once for each weight tensor: the channels of a tap are neighbours."""

import math
from typing import TYPE_CHECKING

from tunedb.problem import Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["tap_major"]


def tap_major(problem: Problem) -> Packer:
    """Return a packer to [taps, c_out] for depthwise weights, whose groups have one input channel."""
    import torch

    taps = math.prod(problem.kernel)

    def pack(weight: "Tensor") -> "Tensor":
        # Always a copy, even if the order stays: the user's own weight may start at an address that is not aligned.
        return weight.reshape(problem.c_out, taps).t().clone(memory_format=torch.contiguous_format)

    return Packer(pack)
