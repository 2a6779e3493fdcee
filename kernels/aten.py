"""Torch's own convolution: the answer wherever it measures faster, and wherever nothing else applies."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.problem import OPS as ALL_OPS
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

OPS = ALL_OPS


class Config(NamedTuple):
    """Nothing to choose: torch does."""


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del problem, device
    return {}


def valid(problem: Problem, config: Config, device: Device) -> str:
    del problem, config, device
    return ""


def default(problem: Problem, device: Device) -> Config:
    del problem, device
    return Config()


def signature(problem: Problem, config: Config) -> Signature | None:
    del problem, config
    return None


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    del config, launcher
    from tunedb.torch_internals import CONVOLUTIONS

    function = CONVOLUTIONS[problem.op]
    sizes = problem.torch_sizes

    def run(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor | None" = None) -> "Tensor":
        result = function(x, weight, bias, **sizes)
        return result if out is None else out.copy_(result)

    return run
