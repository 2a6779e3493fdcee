"""What a family gives for each of its models, and the inputs that models are called with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = ["BATCHES", "Call", "Made", "Model", "configured", "tokens", "zeros"]

BATCHES = (1, 8)  # of models that people run on one picture, or on many

Call = Callable[[nn.Module], Any]


class Made(NamedTuple):
    """A model and its calls: each is one forward pass at a size that people run it with."""

    module: nn.Module
    calls: tuple[Call, ...]


class Model(NamedTuple):
    """A model by name, as in "timm/resnet50": its family, and what the family's package calls it.

    `make` returns it with random weights, or none, on torch's default device. It never downloads anything.
    """

    name: str
    make: Callable[[], Made]

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]


def zeros(*shapes: tuple[int, ...], method: str = "", **named: tuple[int, ...]) -> Call:
    """Return a call of a model, or of one of its methods, with tensors of these shapes on torch's default device."""

    def call(module: nn.Module) -> Any:
        function: Any = module
        for name in method.split(".") if method else ():
            function = getattr(function, name)
        return function(
            *(torch.zeros(shape) for shape in shapes),
            **{name: torch.zeros(shape) for name, shape in named.items()},
        )

    return call


def tokens(*shape: int) -> torch.Tensor:
    """Return token ids: the model looks up rows of an embedding with them."""
    return torch.zeros(shape, dtype=torch.long)


def configured(package: str, model: str, config: str, values: dict[str, Any], *calls: Call) -> Made:
    """Return a model of a package that is made from a config, both by the names of their classes."""
    from importlib import import_module

    found = import_module(package)
    return Made(getattr(found, model)(getattr(found, config)(**values)), calls)
