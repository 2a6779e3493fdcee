"""What torch.compile and torch.export see of a call: two operators of torch.library, and no graph break.

`tunedb::convolution` stands in the graph that Dynamo captures. It decides while the graph is being compiled: a layer that
torch answers becomes torch's own convolution, so that Inductor keeps its freedom; a layer that tunedb answers, and one of
dynamic shapes, becomes `tunedb::tuned`, which looks its plan up when it runs.
"""

from typing import TYPE_CHECKING, Any, cast

import torch

from tunedb.device import Device, current
from tunedb.dispatch import inductor, lookup
from tunedb.dispatch.calls import PLAIN
from tunedb.dispatch.fused import wins_fused
from tunedb.dispatch.graphs_only import too_short_for_eager
from tunedb.dispatch.normalise import allow_tf32, is_channels_last, named_padding, normalised, per_axis
from tunedb.dispatch.torchs import torch_convolution
from tunedb.launch import dense_strides
from tunedb.problem import is_transposed, op_of, rank
from tunedb.torch_internals import functorch_layer, mark_constant

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["torch_convolution", "traced"]

DEVICES = ("cuda",)  # whose calls become operators; all others are torch's
# Whether torch.export is tracing; older torch cannot say it.
is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
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


def _convolution(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int, answers: str,
) -> "Tensor":  # fmt: skip
    del answers
    sizes = (stride, padding, dilation, transposed, output_padding, groups)
    given = x
    if type(x) not in PLAIN and not is_exporting():  # else nothing is traced for a compiler
        inductor.write_direct_calls()
        given = _as_inductor_runs_it(x)
    if _is_torchs(given, weight, bias, *sizes):
        return cast("Tensor", torch.ops.aten.convolution(x, weight, bias, *sizes))
    out: Tensor = torch.ops.tunedb.tuned(given, weight, bias, *sizes)
    return out if given is x else out.contiguous()


def _as_inductor_runs_it(x: "Tensor") -> "Tensor":
    """Return the input of a two-dimensional convolution in channels_last, in which Inductor runs torch's own.

    So both are compared, and mixed, in one layout. Inductor writes what comes before in the layout that is asked for, and what
    comes after reads it as it lies: neither this copy nor the one back costs a launch.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 and _is_static(x) else x


def _is_torchs(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> bool:  # fmt: skip
    differentiated = torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in (x, weight, bias)
    )
    if differentiated or functorch_layer() is not None:
        return True
    if not _is_static(x) or not _is_static(weight):
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
    if isinstance(call, str):
        return True
    device = _device(x)
    found = lookup.answer(call.problem, device)
    if found.kernel == "aten" or not wins_fused(found.record, device):
        return True
    # Where no graph will be captured, torch runs what the host is too slow for: it may be left to Inductor whole. What is exported
    # may run either way, which is decided in each call.
    return bool(too_short_for_eager(found)) and not is_exporting() and not inductor.captures_graphs()


def _is_static(x: "Tensor") -> bool:
    return all(type(size) is int for size in (*x.shape, *x.stride()))


def _device(x: "Tensor") -> Device:
    return current(x.device.index or 0)


def _tuned(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None", stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> "Tensor":  # fmt: skip
    op = op_of(len(stride), transposed=transposed)
    sizes = (stride, padding, output_padding, groups, dilation)
    return inductor.answered(op, x, weight, bias, sizes, last=_is_last(x, weight))


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
    layout = "channels_last" if _is_last(x, weight) else "channels_first"
    return x.new_empty_strided(shape, dense_strides(shape, layout))


def _is_last(x: "Tensor", weight: "Tensor") -> bool:
    """Return whether a plan lays the output out in channels_last, as torch does."""
    return x.dim() > 3 and (is_channels_last(x) or is_channels_last(weight))


# Kept for the life of the process: the operators go with it.
_library: Any = torch.library.Library("tunedb", "DEF")  # type: ignore[no-untyped-call]
_library.define(f"convolution({_TENSORS}, {_SIZES}, str answers) -> Tensor")
# Without this tag Inductor forgets the strides of inputs where an operator has a lowering of its own.
_library.define(f"tuned({_TENSORS}, {_SIZES}) -> Tensor", tags=(torch.Tag.needs_exact_strides,))
_library.impl("convolution", _convolution, "CompositeImplicitAutograd")
_library.impl("tuned", _tuned, "CUDA")
torch.library.register_fake("tunedb::tuned", _fake_tuned, lib=_library)
