"""From a call to what answers it: first what answered the same weight last time, then the plan of its tensor signature.

A call that torch answers should cost hardly more than torch's own, and a call that a plan answers much less, so the usual
call is recognised by its weight: `find` compares what may have changed since, all of the tensors at once.
"""

import contextlib
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tunedb.dispatch.normalise import allow_tf32
from tunedb.torch_internals import (
    current_device,
    dispatch_modes,
    forward_state,
    functorch_layer,
    raw_stream,
    tensor_guard,
    tracing_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tunedb.dispatch.plans import Plan

    Run = Callable[[Tensor, Tensor, Tensor | None], Tensor]

__all__ = [
    "PLAIN",
    "clear",
    "count",
    "find",
    "on_device",
    "planned",
    "torch_must_see",
    "unaligned",
]

# Beyond this many, the plan that was used longest ago goes with each new one. A service that sees a new length in every call
# then holds no more memory in the end than here, no call waits while thousands of plans are dropped, and the layers whose
# length stays keep theirs.
LIMIT = 4096
_plans: "OrderedDict[tuple[Any, ...], Plan]" = OrderedDict()
# By the id of the weight: what answered its latest call.
_latest: "dict[int, _Memo]" = {}

PLAIN = (torch.Tensor, torch.nn.Parameter)
_device_index = current_device


# Not a named tuple: a call reads a dozen fields, and Python reads slots faster.
@dataclass(slots=True, eq=False)
class _Memo:
    """What answered a weight last time, and what must be as it was then."""

    stride: Any
    padding: Any
    output_padding: Any
    groups: Any
    dilation: Any
    op: str
    without_bias: bool
    torchs: "Callable[..., bool] | None"  # of x and weight: where it holds torch answers, outside of graphs if there is a `run`
    same: "Callable[..., bool] | None"  # of all tensors: where it holds `run` may answer
    run: "Run | None"
    tf32: bool | None  # of float32 only
    device: int
    packed_version: int | None  # of a weight packed for CUDA graphs only
    weight: "weakref.ref[Tensor]"  # takes the memo away when the weight goes


def find(
    op: str,
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None",
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> "Run | None":
    """Return what answers a call, run(x, weight, bias), or None where torch's own function does."""
    memo = _latest.get(id(weight))
    if (
        memo is not None
        # The very objects: a module passes the same ones in every call, and 1.0 and True equal 1.
        and memo.stride is stride
        and memo.padding is padding
        and memo.output_padding is output_padding
        and memo.groups is groups
        and memo.dilation is dilation
        and memo.op is op
        and memo.without_bias is (bias is None)
    ):
        run, torchs, same = memo.run, memo.torchs, memo.same
        # Torch's answer is right whatever is the case, so that the bias, the precision and the rest below need not be asked.
        if (
            torchs is not None
            and torchs(x, weight)
            and (run is None or (memo.packed_version == weight._version and not _captures(memo.device)))
        ):
            return None
        if (
            run is not None
            and same is not None
            and (same(x, weight) if bias is None else same(x, weight, bias))
            and (torchs is None or _captures(memo.device))
            and (memo.tf32 is None or memo.tf32 is allow_tf32())
        ):
            # What the guard of the tensors does not see; then alignment.
            if (
                functorch_layer() is not None
                or dispatch_modes() != 0
                or tracing_state() is not None
                or forward_state._current_level >= 0
                or (torch.is_grad_enabled() and _differentiable(x, weight, bias))
                or x.data_ptr() & 15
                or (bias is not None and bias.data_ptr() & 15)
            ):
                return None
            return on_device(memo.device, run)
    return _search(op, x, weight, bias, stride, padding, output_padding, groups, dilation)


def torch_must_see(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> bool:
    """Return whether differentiation, tracing, autocast, functorch, a mode or a subclass must see torch's own operation."""
    return (
        type(x) is not torch.Tensor
        or type(weight) not in PLAIN
        or (torch.is_grad_enabled() and _differentiable(x, weight, bias))
        or torch.is_autocast_enabled()
        or functorch_layer() is not None
        or dispatch_modes() != 0
        or tracing_state() is not None
        or forward_state._current_level >= 0
    )


def _differentiable(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> bool:
    return x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)


def planned(
    op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None", sizes: tuple[Any, ...]
) -> "Plan | None":
    """Return the plan of a call's tensor signature, made where there is none yet; None where torch must answer.

    `sizes` are stride, padding, output_padding, groups and dilation. Who calls has made sure that torch need not see the call.
    """
    sizes = tuple(tuple(size) if type(size) is list else size for size in sizes)
    key = (
        op, x.shape, x.stride(), x.dtype, x.device, weight.shape, weight.stride(), weight.dtype, weight.device,
        None if bias is None else (bias.shape, bias.stride(), bias.dtype, bias.device),
        *sizes, allow_tf32(),
    )  # fmt: skip
    plan = _plans.get(key)
    # As dict keys 1.0 and True equal 1, but torch refuses them as sizes.
    if not all(map(_integral, sizes)):
        return None
    if plan is None:
        if x.is_cuda and torch.cuda.is_current_stream_capturing():
            return None  # loading machine code would break the capture; a later call makes the plan
        # With all that looks up, compiles and launches: `import tunedb` stays short.
        from tunedb.dispatch import plans

        plan = _plans[key] = plans.make_plan(op, x, weight, bias, *sizes)
        if len(_plans) > LIMIT:
            with contextlib.suppress(KeyError):  # another thread has just cleared them
                _plans.popitem(last=False)
    else:
        with contextlib.suppress(KeyError):  # another thread has just dropped it
            _plans.move_to_end(key)
    return plan


def clear() -> None:
    """Forget all plans and what was read from databases."""
    _plans.clear()
    _latest.clear()
    from tunedb.dispatch import plans

    plans.clear()


def count() -> dict[str, int]:
    """Return how many tensor signatures have a plan, how many of these torch answers, and how many each tier gave."""
    from tunedb.dispatch.lookup import TIERS
    from tunedb.dispatch.plans import NO_TIER

    found = list(_plans.values())
    tiers = [plan.tier for plan in found]
    return {
        "plans": len(found),
        "plans_of_torch": sum(plan.run is None for plan in found),
        **{f"plans_{tier.replace('-', '_')}": tiers.count(tier) for tier in (*TIERS, NO_TIER)},
    }


def _search(
    op: str,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> "Run | None":
    if torch_must_see(x, weight, bias):
        return None
    sizes = (stride, padding, output_padding, groups, dilation)
    try:
        plan = planned(op, x, weight, bias, sizes)
    except (AttributeError, TypeError):
        return None  # a sparse tensor, a wrong type: torch says what is wrong
    if plan is None:
        return None
    _remember(op, x, weight, bias, sizes, plan)
    return None if plan.run is None or unaligned(x, bias) else on_device(plan.device_index, plan.run)


def _remember(
    op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None", sizes: tuple[Any, ...], plan: "Plan"
) -> None:
    """Note what answered a weight; forgotten with the weight."""
    run, version = plan.run, None
    if plan.graphs_only:
        from tunedb.weights.cache import is_kept_at_once

        version = weight._version if is_kept_at_once(weight) else None
    torchs = tensor_guard(x, weight) if run is None or version is not None else None
    same = None if run is None else tensor_guard(x, weight) if bias is None else tensor_guard(x, weight, bias)
    if torchs is None and same is None:
        return
    key, latest = id(weight), _latest
    if len(latest) >= LIMIT:
        latest.clear()
    stride, padding, output_padding, groups, dilation = sizes
    latest[key] = _Memo(
        stride, padding, output_padding, groups, dilation, op, bias is None, torchs, same, run, allow_tf32() if x.dtype is torch.float32 else None,
        plan.device_index, version, weakref.ref(weight, lambda _: latest.pop(key, None)),
    )  # fmt: skip


def _captures(index: int) -> bool:
    """Return whether the current stream of a device is captured; CUDA captures none on the default stream, which is cheap to ask."""
    return raw_stream(index) != 0 and torch.cuda.is_current_stream_capturing()


def _integral(size: object) -> bool:
    """Return whether a size is an int, a tuple of ints, or a named padding."""
    return type(size) in {int, str} or (isinstance(size, tuple) and all(type(one) is int for one in size))


def unaligned(x: "Tensor", bias: "Tensor | None") -> bool:
    # The compiled code assumes pointers aligned to 16 bytes, as torch's allocator aligns them; a view's may not be.
    return bool(x.data_ptr() & 15 or (bias is not None and bias.data_ptr() & 15))


def on_device(index: int, run: "Run") -> "Run":
    """Return a run itself where the CUDA device of its plan is the current one, else one that changes to it."""
    if _device_index is None or _device_index() == index:
        return run

    def elsewhere(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        with torch.cuda.device(index):
            return run(x, weight, bias)

    return elsewhere
