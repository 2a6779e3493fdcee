"""Switch a model's convolutions over to their answers, and back."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from tunedb.describe import describe, table
from tunedb.device import Device, current
from tunedb.dispatch import lookup, plans
from tunedb.dispatch.normalise import allow_tf32
from tunedb.distance import LAYER
from tunedb.errors import ProblemError
from tunedb.model.compile_together import compile_together
from tunedb.model.switched import original, plain_op, switched
from tunedb.problem import DTYPES, LAYOUTS, Problem, is_transposed
from tunedb.suite import Entry, load_suite

__all__ = ["LayerUse", "Used", "use"]


_Need = tuple[Problem, lookup.Answer, int]  # a problem, its answer, the index of its CUDA device


class LayerUse(NamedTuple):
    """What `use` did with one convolution."""

    name: str  # in the model, such as "decoder.up.0"; empty for the model itself
    op: str
    switched: bool
    why: str


class Used:
    """A model whose layers were switched. As a context manager it undoes that at the end."""

    def __init__(self, layers: list[LayerUse], modules: list[nn.Module]) -> None:
        self.layers = layers
        self._modules = modules

    @property
    def switched(self) -> list[str]:
        """The names of the layers that tunedb answers."""
        return [layer.name for layer in self.layers if layer.switched]

    def undo(self) -> None:
        """Give every switched layer its own class back. A second call does nothing."""
        for module in self._modules:
            module.__class__ = original(type(module))
        self._modules = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def __str__(self) -> str:
        head = f"{len(self.switched)} of {len(self.layers)} convolutions are answered by tunedb."
        rows = [
            (layer.name or "(the model)", layer.op, "tunedb" if layer.switched else "torch", layer.why)
            for layer in self.layers
        ]
        return f"{head}\n{table(('layer', 'operation', 'answered by', 'why'), rows)}" if rows else head


def use(model: nn.Module, layers: "Iterable[Entry] | str | Path | None" = None) -> Used:
    """Switch the convolutions of a model that have a better answer than torch's; leave all others as they were.

    `layers` says what the model is asked for: what `tunedb.capture` gave, or the name or file of a suite. Then exactly the
    layers whose answer is not torch's are switched, their kernels are compiled, several at a time, and their weights packed at once. Without it,
    a layer is switched where some record of it, for any batch and extents, was won by another kernel than torch's; each call
    then looks up its own shapes. A switched layer still calls torch where a gradient is asked for, under autocast, on another
    device, and for shapes that torch answers best.

    A layer is torch.nn.Conv1d … ConvTranspose3d or a subclass that computes in the same way. state_dict, repr, hooks, copies
    and pickles of the model stay as they were; only the class of a switched layer is a subclass of what it was.
    Raises ProblemError: where `model` is not a torch.nn.Module. Raises SuiteError: where a suite cannot be read.
    """
    if not isinstance(model, nn.Module):
        raise ProblemError(
            f"model must be a torch.nn.Module, but got {type(model).__name__}: pass the module whose layers are to be switched."
        )
    entries = load_suite(layers) if isinstance(layers, str | Path) else layers
    asked = None if entries is None else _by_layer(entries)
    layers_found: list[tuple[str, nn.Module, str, str, list[_Need]]] = []
    for name, module in model.named_modules():
        op = plain_op(module)
        kind: Any = type(module)
        if op is not None and kind is original(kind):
            layers_found.append((name, module, op, *_judged(op, module, asked)))
    _compile(needs for *_, needs in layers_found)
    found: list[LayerUse] = []
    modules: list[nn.Module] = []
    for name, module, op, torchs, needs in layers_found:
        why = torchs or _unprepared(module, needs)
        if not why:
            modules.append(module)
            own: Any = type(module)
            module.__class__ = switched(own, op)
        found.append(LayerUse(name, op, not why, why or "a better answer is known"))
    return Used(found, modules)


def _by_layer(entries: Iterable[Entry]) -> dict[tuple[Any, ...], list[Problem]]:
    asked: dict[tuple[Any, ...], list[Problem]] = {}
    for entry in entries:
        problem = entry.problem()
        asked.setdefault(_layer(problem), []).append(problem)
    return asked


def _layer(problem: Problem) -> tuple[Any, ...]:
    """Return what a layer is known by: a module says nothing of the memory layout that it will be called in."""
    return tuple(getattr(problem, name) for name in LAYER if name != "layout")


def _judged(
    op: str, module: Any, asked: Mapping[tuple[Any, ...], list[Problem]] | None
) -> tuple[str, list[_Need]]:
    """Return why a layer is left to torch, or an empty string where it has a better answer, and then what has to be ready for it."""
    weight = module.weight
    if not weight.is_cuda or torch.version.cuda is None:
        return f"it is on {weight.device.type}", []
    if str(weight.dtype).removeprefix("torch.") not in DTYPES:
        return f"tunedb has kernels for {', '.join(DTYPES)}, not for {weight.dtype}", []
    device = current(weight.device.index)
    some = _some_problem(op, module)
    if asked is None:
        known = _is_known(some, device)
        return "" if known else f"no record of it on {device.slug} or elsewhere beats torch", []
    problems = asked.get(_layer(some), [])
    if not problems:
        return "the model was not seen to call it", []
    answers = [lookup.answer(problem, device) for problem in problems]
    needs = [
        (problem, found, weight.device.index)
        for problem, found in zip(problems, answers, strict=True)
        if found.kernel != "aten"
    ]
    return ("" if needs else answers[0].reason), needs


def _compile(layers: Iterable[list[_Need]]) -> None:
    """Compile what all layers need, a device at a time."""
    by_index: dict[int, list[tuple[str, Problem, Any]]] = {}
    for problem, found, index in (need for needs in layers for need in needs):
        by_index.setdefault(index, []).append((found.kernel, problem, found.config))
    for index, needs in by_index.items():
        compile_together(needs, current(index))


def _unprepared(module: Any, needs: list[_Need]) -> str:
    """Load a layer's kernels and pack its weight; return why that fails, or an empty string."""
    # A weight that is computed in every call is packed in every call, not here.
    own = dict(module.named_parameters(recurse=False)).get("weight")
    for problem, found, index in needs:
        if failure := plans.prepare(found, problem, index, own):
            return f"{describe(problem)}: {failure}"
    return ""


def _some_problem(op: str, module: Any) -> Problem:
    """Return a problem of a layer: of which batch and extents does not matter."""
    dtype = str(module.weight.dtype).removeprefix("torch.")
    extents = tuple(d * (k - 1) + 1 for d, k in zip(module.dilation, module.kernel_size, strict=True))
    zeros = (0,) * len(extents)
    more = module.output_padding if is_transposed(op) else zeros
    return Entry(
        op, 0, op, 1, module.in_channels, extents, module.out_channels, module.kernel_size, module.stride, zeros, more,
        module.dilation, module.groups, module.bias is not None,
    ).problem(dtype, "tf32" if dtype == "float32" and allow_tf32() else "ieee")  # fmt: skip


def _is_known(some: Problem, device: Device) -> bool:
    """Return whether a record of this layer, of any batch and extents, was won by another kernel than torch's."""
    dtypes = ("bfloat16", "float16") if some.dtype == "bfloat16" else (some.dtype,)
    return any(
        lookup.has_winner(some._replace(dtype=dtype, layout=layout), device)
        for dtype in dtypes
        for layout in LAYOUTS
    )
