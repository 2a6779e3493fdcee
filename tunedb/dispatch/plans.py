"""From a call to a launch: a plan for each tensor signature, made once, found by one dict lookup."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb import launch
from tunedb.describe import describe
from tunedb.device import current
from tunedb.dispatch import layer_plans, lookup
from tunedb.dispatch.graphs_only import in_graphs, too_short_for_eager
from tunedb.dispatch.normalise import Call, normalised
from tunedb.dispatch.torchs import torch_convolution
from tunedb.errors import TunedbWarning
from tunedb.kernel import Run, load
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NO_TIER", "Plan", "clear", "make_plan", "prepare"]

NO_TIER = "none"  # of a plan for which nothing was looked up
_log = logging.getLogger("tunedb")


class Plan(NamedTuple):
    """What runs for one tensor signature. Torch's own function answers where `run` is None."""

    run: "Callable[[Tensor, Tensor, Tensor | None], Tensor] | None"
    device_index: int  # of the CUDA device, -1 for none
    why: str
    sizes: tuple[Any, ...]  # the very objects that the plan was made for
    tier: str = NO_TIER  # of the answer: one of lookup.TIERS
    graphs_only: bool = False  # torch answers eager calls; `run` knows that too, and packs their weights


def make_plan(op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None", *sizes: Any) -> Plan:
    """Return the plan for a call: normalise, look the answer up, compile it, load it.

    Never raises for wrong arguments, for what a database holds or for a kernel that the GPU refuses: torch
    then answers, and the plan says why. `sizes` are stride, padding, output_padding, groups, dilation.
    """
    if not x.is_cuda or _emulated():
        return _torchs(op, x, weight, f"torch answers on {x.device.type}", sizes)
    if x.numel() == 0 or weight.numel() == 0:
        return _torchs(op, x, weight, "torch answers for empty tensors", sizes)
    call = normalised(op, x, weight, bias, *sizes)
    if isinstance(call, str):
        return _torchs(op, x, weight, call, sizes)
    index = x.device.index
    plan, kernel = _of_answer(call, x, bias, index, sizes)
    if _log.isEnabledFor(logging.DEBUG):
        runs = "torch" if plan.run is None else kernel
        _log.debug(
            "%s on %s: %s, tier %s: %s",
            describe(call.problem), current(index).slug, runs, plan.tier, plan.why.removesuffix("."),
        )  # fmt: skip
    return plan


def _torchs(op: str, x: "Tensor", weight: "Tensor", why: str, sizes: tuple[Any, ...]) -> Plan:
    """Return the plan of a call for which nothing is looked up."""
    if _log.isEnabledFor(logging.DEBUG):
        shapes = ("x".join(map(str, one.shape)) for one in (x, weight))
        _log.debug("%s x %s w %s: torch, tier %s: %s", op, *shapes, NO_TIER, why.removesuffix("."))
    return Plan(None, -1, why, sizes)


def _of_answer(
    call: Call, x: "Tensor", bias: "Tensor | None", index: int, sizes: tuple[Any, ...]
) -> tuple[Plan, str]:
    """Return the plan of what the databases answer, and the name of that kernel."""
    found = lookup.answer(call.problem, current(index))
    if found.kernel == "aten":
        return Plan(None, index, found.reason, sizes, found.tier), found.kernel
    try:
        run = _loaded(found, call.problem, index)
    except Exception as error:  # noqa: BLE001 (a compiler, a driver: torch can still answer)
        import warnings

        warnings.warn(
            f"{found.kernel} cannot run on {current(index).slug} and torch answers instead: {error}. "
            f"Sweep this problem again with the Triton that is installed.",
            TunedbWarning,
            stacklevel=4,
        )
        return Plan(None, index, f"{found.kernel} failed to load: {error}", sizes, found.tier), found.kernel
    adapted, why = _adapted(run, call, x, bias), found.reason
    if short := too_short_for_eager(found):
        op = call.problem.op

        def theirs(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
            return torch_convolution(op, x, weight, bias, *sizes)

        adapted, why = in_graphs(run, adapted, theirs), why + short
    return Plan(adapted, index, why, sizes, found.tier, graphs_only=bool(short)), found.kernel


def _emulated() -> bool:
    import torch

    return torch.version.cuda is None


def prepare(found: lookup.Answer, problem: Problem, index: int, weight: "Tensor | None") -> str:
    """Compile and load an answer's kernel and pack a weight for it ahead of the first call; return why that fails, or "".

    `index` is the CUDA device. The plan of a call finds both ready.
    """
    try:
        run = _loaded(found, problem, index)
        packer = getattr(run, "packer", None)
        if packer is not None and weight is not None:
            packer(weight)
    except Exception as error:  # noqa: BLE001 (a compiler, a driver: torch can still answer)
        return f"{found.kernel} failed to load: {error}"
    return ""


def _loaded(found: lookup.Answer, problem: Problem, index: int) -> Run:
    import torch

    with torch.cuda.device(index):
        return layer_plans.plan(found.kernel, load(found.kernel), problem, found.config)


def _adapted(
    run: Run, call: Call, x: "Tensor", bias: "Tensor | None"
) -> "Callable[[Tensor, Tensor, Tensor | None], Tensor]":
    """Return the run for inputs as they come: without a batch, unevenly padded, not dense.

    Which of these a call needs is part of its signature, so the usual call needs no test at all.
    """
    import torch

    layout = torch.contiguous_format
    if call.problem.layout == "channels_last":
        layout = torch.channels_last if call.problem.rank == 2 else torch.channels_last_3d
    dense = x.is_contiguous(memory_format=layout) and (bias is None or bias.is_contiguous())
    if call.batched and not call.pad and dense:
        return getattr(run, "usual", None) or run

    def adapted(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        batch = x if call.batched else x.unsqueeze(0)
        if call.pad:
            batch = torch.nn.functional.pad(batch, call.pad)
        flat = None if bias is None else bias.contiguous()
        out: Tensor = run(batch.contiguous(memory_format=layout), weight, flat)
        return out if call.batched else out.squeeze(0)

    return adapted


def clear() -> None:
    """Forget loaded kernels and what was read from databases."""
    launch.clear()
    layer_plans.clear()
    lookup.reload()
