"""A problem, a kernel that solves it through torch, and a clock that can lose its GPU: for the bench on a CPU."""

from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812 (torch's own name for it)

from tunedb.device import by_slug
from tunedb.kernel import config_to_json
from tunedb.measure.timing import WallClock
from tunedb.problem import Problem

PROBLEM = Problem(
    "conv_transpose2d", "float32", "ieee", "channels_first", 3, 16, 8, 2, 1,
    *(1, 9, 11), *(1, 3, 3), *(1, 2, 2), *(0, 1, 1), *(0, 1, 0), *(1, 1, 1),
)  # fmt: skip


class Config(NamedTuple):
    SIZE: int
    num_warps: int


CONFIG = config_to_json(Config(64, 4))


def exact(x, weight, bias, out):
    lead = PROBLEM
    result = F.conv_transpose2d(
        x.double(),
        weight.double(),
        bias.double(),
        lead.stride[1:],
        lead.padding[1:],
        lead.output_padding[1:],
        lead.groups,
    )
    return out.copy_(result)


class Clock(WallClock):
    """Counts its repetitions and can lose its context or its memory."""

    lost = False
    bytes = 1000

    def __init__(self):
        super().__init__(by_slug("h200"))
        self.repetitions = []

    def times_us(self, calls, rounds):
        self.repetitions.append((len(calls), rounds))
        return super().times_us(calls, rounds)

    def allocated(self):
        return self.bytes

    def alive(self):
        return not self.lost
