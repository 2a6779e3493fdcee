"""Write down what a model asks of convolutions while it runs."""

import warnings
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

from tunedb.dispatch.normalise import is_channels_last, normalised
from tunedb.errors import ProblemError, TunedbWarning
from tunedb.model.layers import Layers
from tunedb.problem import op_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tunedb.problem import Problem

__all__ = ["capture"]

LIMIT = 4096  # different problems

# What torch.inference_mode shows in the place of aten.convolution: functions of Python's names, each made of it.
_COMPOSITES = frozenset(
    packet
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "_convolution_mode")
    if (packet := getattr(torch.ops.aten, name, None)) is not None
)  # fmt: skip
_CONVOLUTIONS = frozenset(
    packet
    for name in ("convolution", "convolution_overrideable", "_convolution")
    if (packet := getattr(torch.ops.aten, name, None)) is not None
)


class capture:  # noqa: N801 (used as a function is: `with tunedb.capture() as layers:`)
    """Context manager: collect every convolution that is called inside, with its shapes, dtype, layout and precision.

    It sees convolutions however they are called (modules, functions, tunedb's own), in forward passes only, on the CPU, on
    GPUs and on meta tensors, on which a model that fits no GPU here costs nothing. What it gives is filled at the end of the
    block: capture one forward pass, with inputs as they are at inference, under torch.no_grad or torch.inference_mode.

    `limit` bounds how many different problems are kept: beyond it calls are counted in `Layers.dropped`, and one
    TunedbWarning says so. Raises ProblemError: for a limit below 1.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        if type(limit) is not int or limit < 1:
            raise ProblemError(
                f"limit must be an integer of at least 1, but got {limit!r}: it bounds how many different problems are kept."
            )
        self._layers = Layers()
        self._watch = _Watch(limit)
        self._handles: list[Any] = []

    def __enter__(self) -> Layers:
        watch = self._watch
        self._handles = [
            hooks.register_module_forward_pre_hook(watch.enter),
            hooks.register_module_forward_hook(watch.leave, always_call=True),
        ]
        watch.__enter__()  # type: ignore[no-untyped-call]
        return self._layers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        watch = self._watch
        self._layers.fill(watch.calls, watch.named(), watch.skipped, watch.dropped)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, and knows by which module it is called."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._limit = limit
        self._running: list[nn.Module] = []
        # Modules that were called by no other, kept so that their ids stay theirs, and the names of what is in each.
        self._roots: list[nn.Module] = []
        self._names: list[dict[int, str]] = []
        self._root = 0  # the one that is running
        self._modules: dict[Problem, dict[tuple[int, str], None]] = {}
        self.calls: Counter[Problem] = Counter()
        self.skipped: Counter[str] = Counter()
        self.dropped = 0

    def enter(self, module: "nn.Module", _: Any) -> None:
        if not self._running:
            known = [index for index, root in enumerate(self._roots) if root is module]
            self._root = known[0] if known else len(self._roots)
            if not known:
                self._roots.append(module)
                self._names.append({id(one): name for name, one in module.named_modules()})
        self._running.append(module)

    def leave(self, module: "nn.Module", *_: Any) -> None:
        if self._running and self._running[-1] is module:
            self._running.pop()

    def named(self) -> "dict[Problem, tuple[str, ...]]":
        """Return the modules that call each problem; the name of the root's class is in front where there are several roots."""
        several = len(self._roots) > 1

        def text(root: int, name: str) -> str:
            if root < 0:
                return name
            own = type(self._roots[root]).__name__
            return ".".join(filter(None, (own, name))) if several or not name else name

        return {problem: tuple(text(*one) for one in found) for problem, found in self._modules.items()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", None)
        if packet in _COMPOSITES:
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        elif packet in _CONVOLUTIONS:
            self._see(*args[:9])
            return _as_on_a_gpu(func(*args, **kwargs), args[0], args[1])
        return func(*args, **kwargs)

    def _see(
        self, x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int],
        dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
    ) -> None:  # fmt: skip
        op = op_of(len(stride), transposed=transposed)
        call = normalised(op, x, weight, bias, stride, padding, output_padding, groups, dilation)
        if isinstance(call, str):
            self.skipped[call] += 1
            return
        problem = call.problem
        if problem not in self.calls and len(self.calls) >= self._limit:
            if not self.dropped:
                warnings.warn(
                    f"A capture keeps at most {self._limit} different problems, but the model asks for more: the calls of "
                    "further ones are only counted. Capture fewer input shapes, or pass a higher `limit`.",
                    TunedbWarning,
                    stacklevel=2,
                )
            self.dropped += 1
            return
        self.calls[problem] += 1
        self._modules.setdefault(problem, {})[self._caller(op)] = None

    def _caller(self, op: str) -> tuple[int, str]:
        """Return root and name of the module that is running; no root where a convolution is called outside of any."""
        for module in reversed(self._running):
            if (name := self._names[self._root].get(id(module))) is not None:
                return self._root, name
        return -1, op


def _as_on_a_gpu(out: "Tensor", x: "Tensor", weight: "Tensor") -> "Tensor":
    """Return an output of a meta convolution in the layout that a GPU's has: torch's meta kernels forget channels_last."""
    if not out.is_meta or out.dim() < 4 or not (is_channels_last(x) or is_channels_last(weight)):
        return out
    return out.contiguous(memory_format=torch.channels_last if out.dim() == 4 else torch.channels_last_3d)
