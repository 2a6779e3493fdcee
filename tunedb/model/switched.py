"""The classes that a switched layer has: torch's own, with tunedb's function where torch's was called.

A layer is switched by its class alone, so that its attributes, state_dict, hooks and repr stay as they were; a copy and a
pickle of it are of torch's class again.
"""

import copyreg
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunedb import ops
from tunedb.problem import is_transposed, rank

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "original", "plain_op", "switched"]

CLASSES: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
}
# What a switched layer takes over. A class of torch that lacks one of them is left as it is.
_NEEDED = {
    False: ("_conv_forward", "_reversed_padding_repeated_twice"),
    True: ("_output_padding",),
}


class _Switched:
    """Marks the classes made here."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        # What pickle itself writes for a plain object, with torch's class in the place of this one. (The usual
        # copyreg.__newobj__ is refused for another class than the object's own.)
        reduced: Any = super().__reduce_ex__(protocol)
        rebuild = copyreg._reconstructor  # type: ignore[attr-defined]  # noqa: SLF001
        return (rebuild, (original(type(self)), object, None), *reduced[2:])


def plain_op(module: nn.Module) -> str | None:
    """Return the operation of a layer whose convolution can be switched over, or None for any other module.

    A forward layer computes it in `_conv_forward`, which subclasses that only pad or cache in `forward` still call; one that
    calls torch's function itself is switched without effect. A transposed layer computes it in `forward`. Layers with
    parametrized weights are such subclasses.
    """
    for kind, op in CLASSES.items():
        if isinstance(module, kind):
            method = "forward" if is_transposed(op) else "_conv_forward"
            own = getattr(type(module), method, None) is getattr(kind, method, None)
            whole = all(hasattr(module, name) for name in _NEEDED[is_transposed(op)])
            uninitialised = isinstance(module, nn.modules.lazy.LazyModuleMixin)
            return op if own and whole and not uninitialised and method not in vars(module) else None
    return None


@functools.cache
def switched(kind: type[nn.Module], op: str) -> type[nn.Module]:
    """Return the subclass of a layer's class that answers with tunedb's function."""
    body = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        **({"forward": _transposed(op)} if is_transposed(op) else {"_conv_forward": _forward(op)}),
    }
    return type(kind.__name__, (_Switched, kind), body)


def original(kind: type) -> type:
    """Return the class that a switched class was made of; any other class itself."""
    return kind.__bases__[1] if _Switched in kind.__bases__ else kind


def _forward(op: str) -> Any:
    convolution, zeros = getattr(ops, op), (0,) * rank(op)

    def _conv_forward(self: Any, input: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        padding = self.padding
        if self.padding_mode != "zeros":
            input = torch.nn.functional.pad(
                input, self._reversed_padding_repeated_twice, mode=self.padding_mode
            )
            padding = zeros
        answer: Tensor = convolution(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return answer

    return _conv_forward


def _transposed(op: str) -> Any:
    convolution, axes = getattr(ops, op), rank(op)

    def forward(self: Any, input: "Tensor", output_size: list[int] | None = None) -> "Tensor":
        more = self.output_padding
        if output_size is not None:
            sizes = (self.stride, self.padding, self.kernel_size, axes, self.dilation)
            more = tuple(self._output_padding(input, output_size, *sizes))
        answer: Tensor = convolution(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )
        return answer

    return forward
