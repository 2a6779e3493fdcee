"""What torch.compile and torch.export see of a call: two operators of torch.library, and no graph break.

`tunedb::convolution` stands in the graph that Dynamo captures. It decides while the graph is being compiled: a layer that
torch answers becomes torch's own convolution, so that Inductor keeps its freedom; a layer that tunedb answers, and one of
dynamic shapes, becomes `tunedb::tuned`, which looks its plan up when it runs.
"""

from typing import TYPE_CHECKING, Any, cast

import torch

from tunedb.device import Device, current
from tunedb.dispatch import lookup
from tunedb.dispatch.calls import on_device, planned, unaligned
from tunedb.dispatch.normalise import allow_tf32, is_channels_last, named_padding, normalised, per_axis
from tunedb.launch import dense_strides
from tunedb.problem import Problem, is_transposed, op_of, rank
from tunedb.record import Record
from tunedb.torch_internals import CONVOLUTIONS, functorch_layer, mark_constant

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["torch_convolution", "traced"]

DEVICES = ("cuda",)  # whose calls become operators; all others are torch's
_SIZES = "int[] stride, int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups"
_TENSORS = "Tensor input, Tensor weight, Tensor? bias"


@mark_constant
def _answers() -> str:
    """Return what a decision rests on: the databases and torch's precision.

    It is an argument of the operator, because torch keeps compiled graphs on disk under the operator's arguments: after a
    sweep the old decision must not come back from there.
    """
    return f"{lookup.fingerprint()} {'tf32' if allow_tf32() else 'ieee'}"


def traced(
    op: str,
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None",
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> "Tensor":
    """Answer a call that Dynamo is tracing. It inlines this function, so that its conditions cost nothing later."""
    axes = rank(op)
    steps, dilations, more = per_axis(stride, axes), per_axis(dilation, axes), per_axis(output_padding, axes)
    pads = per_axis(padding, axes)
    pad: tuple[int, ...] = ()
    if isinstance(padding, str) and not is_transposed(op):
        pads, pad = named_padding(padding, weight.shape[2:], steps, dilations)
    if (
        x.device.type not in DEVICES
        or x.dim() not in {axes + 1, axes + 2}
        or steps is None or pads is None or dilations is None or more is None or type(groups) is not int
        or torch.is_autocast_enabled(x.device.type)
        or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)))
    ):  # fmt: skip
        return torch_convolution(op, x, weight, bias, stride, padding, output_padding, groups, dilation)
    batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
    if pad:
        batch = torch.nn.functional.pad(batch, pad)
    out: Tensor = torch.ops.tunedb.convolution(
        batch, weight, bias, steps, pads, dilations, is_transposed(op), more, groups, _answers()
    )
    return out if x.dim() == axes + 2 else out.squeeze(0)


def torch_convolution(
    op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None",
    stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
) -> "Tensor":  # fmt: skip
    """Call torch's own function."""
    if is_transposed(op):
        return CONVOLUTIONS[op](x, weight, bias, stride, padding, output_padding, groups, dilation)
    return CONVOLUTIONS[op](x, weight, bias, stride, padding, dilation, groups)


def _convolution(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int, answers: str,
) -> "Tensor":  # fmt: skip
    del answers
    sizes = (stride, padding, dilation, transposed, output_padding, groups)
    if _is_torchs(x, weight, bias, *sizes):
        return cast("Tensor", torch.ops.aten.convolution(x, weight, bias, *sizes))
    return cast("Tensor", torch.ops.tunedb.tuned(x, weight, bias, *sizes))


def _is_torchs(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> bool:  # fmt: skip
    differentiated = torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in (x, weight, bias)
    )
    if differentiated or functorch_layer() is not None:
        return True
    if not all(type(size) is int for size in (*x.shape, *x.stride(), *weight.shape)):
        return False  # of dynamic shapes: decided in each call
    call = normalised(
        op_of(len(stride), transposed=transposed),
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )
    return isinstance(call, str) or _is_best_left(call.problem, _device(x))


def _is_best_left(problem: Problem, device: Device) -> bool:
    """Return whether torch answers a problem, or would be no slower in channels_last.

    Where convolutions are torch's own, Inductor turns whole models to channels_last, in which torch is often faster than any
    answer in channels_first. Only a record of the very layer says so.
    """
    found = lookup.answer(problem, device)
    if found.kernel == "aten":
        return True
    if problem.layout == "channels_last" or problem.rank == 1:
        return False
    own = _of_this_layer(found.record, problem)
    last = problem._replace(layout="channels_last")
    turned = _of_this_layer(lookup.answer(last, device).record, last)
    return (
        own is not None
        and turned is not None
        and turned.aten_us is not None
        and turned.aten_us <= own.time_us
    )


def _of_this_layer(record: Record | None, problem: Problem) -> Record | None:
    """Return the record if its times are this problem's, or float16's in the place of bfloat16's."""
    if record is None:
        return None
    same = record.problem._replace(dtype=problem.dtype, precision=problem.precision)
    return record if same == problem else None


def _device(x: "Tensor") -> Device:
    return current(x.device.index or 0)


def _tuned(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> "Tensor":  # fmt: skip
    op = op_of(len(stride), transposed=transposed)
    plan = planned(op, x, weight, bias, (stride, padding, output_padding, groups, dilation))
    if plan is None or plan.run is None or unaligned(x, bias):
        out = torch_convolution(op, x, weight, bias, stride, padding, output_padding, groups, dilation)
        promised = _promised_strides(x, weight, tuple(out.shape))
        return (
            out
            if out.stride() == promised
            else torch.empty_strided(out.shape, promised, dtype=out.dtype, device=out.device).copy_(out)
        )
    return on_device(plan.device_index, plan.run)(x, weight, bias)


def _fake_tuned(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> "Tensor":  # fmt: skip
    """Return an output without values: shape as torch computes it, strides as a plan lays it out."""
    del bias
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True)
    if transposed:
        extents = [(i - 1) * s - 2 * p + d * (k - 1) + more + 1 for i, k, s, p, d, more in axes]
    else:
        extents = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d, _ in axes]
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    shape = (x.shape[0], channels, *extents)
    return x.new_empty_strided(shape, _promised_strides(x, weight, shape))


def _promised_strides(x: "Tensor", weight: "Tensor", shape: tuple[int, ...]) -> tuple[int, ...]:
    last = x.dim() > 3 and (is_channels_last(x) or is_channels_last(weight))
    return dense_strides(shape, "channels_last" if last else "channels_first")


# Kept for the life of the process: the operators go with it.
_library: Any = torch.library.Library("tunedb", "DEF")  # type: ignore[no-untyped-call]
_library.define(f"convolution({_TENSORS}, {_SIZES}, str answers) -> Tensor")
_library.define(f"tuned({_TENSORS}, {_SIZES}) -> Tensor")
_library.impl("convolution", _convolution, "CompositeImplicitAutograd")
_library.impl("tuned", _tuned, "CUDA")
torch.library.register_fake("tunedb::tuned", _fake_tuned, lib=_library)
