"""What TF32 costs a whole model: its convolutions computed exactly, from factors rounded to the nearest TF32."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

from tunedb.torch_internals import CONVOLUTIONS
from tunedb.weights.layout import nearest_tf32

__all__ = ["RoundedToTf32"]


class RoundedToTf32(TorchFunctionMode):
    """While it is active, torch's convolutions round a float32 input and weight first."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        if func in CONVOLUTIONS.values():
            x, weight, *others = args
            args = (nearest_tf32(x), nearest_tf32(weight), *others)
        return func(*args, **(kwargs or {}))
