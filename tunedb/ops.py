"""The six operations, with torch's signatures."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from tunedb.dispatch import plans
from tunedb.dispatch.normalise import allow_tf32
from tunedb.torch_internals import (
    current_device,
    dispatch_modes,
    forward_state,
    functorch_layer,
    tracing_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


__all__ = [
    "clear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

Size = int | tuple[int, ...] | list[int]

# At this many plans all are dropped: a service sees few signatures, and one that sees a new length in every call must not
# keep a plan for each of them.
PLANS_LIMIT = 4096
_plans: dict[tuple[Any, ...], plans.Plan] = {}

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_device_index = current_device


def _answer(
    op: str,
    torch_answer: "Callable[[], Tensor]",
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None",
    stride: Size,
    padding: Size | str,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> "Tensor":
    """Run the plan of this tensor signature, or torch's own function where there is none."""
    # Differentiation, tracing, autocast, functorch and dispatch modes must see torch's own operation.
    if (
        torch.compiler.is_compiling()
        or type(x) is not torch.Tensor
        or type(weight) not in _PLAIN
        or (
            torch.is_grad_enabled()
            and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad))
        )
        or torch.is_autocast_enabled()
        or functorch_layer() is not None
        or dispatch_modes()
        or tracing_state() is not None
        or forward_state._current_level >= 0
    ):
        return torch_answer()
    try:
        key = (
            op, x.shape, x.stride(), x.dtype, x.device, weight.shape, weight.stride(), weight.dtype, weight.device,
            None if bias is None else (bias.shape, bias.stride(), bias.dtype, bias.device),
            stride, padding, output_padding, groups, dilation,
            allow_tf32(),
        )  # fmt: skip
        plan = _plans.get(key)
    except (AttributeError, TypeError):
        return _unkeyed(op, torch_answer, x, weight, bias, stride, padding, output_padding, groups, dilation)
    sizes = (stride, padding, output_padding, groups, dilation)
    # As dict keys 1.0 and True equal 1, but torch refuses them as sizes. The very objects that made the plan are not checked
    # again: a module passes the same ones in every call.
    if (plan is None or not _identical(plan.sizes, sizes)) and not _integral(sizes):
        return torch_answer()
    if plan is None:
        plan = plans.make_plan(op, x, weight, bias, stride, padding, output_padding, groups, dilation)
        if len(_plans) >= PLANS_LIMIT:
            _plans.clear()
        _plans[key] = plan
    run = plan.run
    # The compiled code assumes pointers aligned to 16 bytes, as torch's allocator aligns them; a view's may not be.
    if run is None or x.data_ptr() & 15 or (bias is not None and bias.data_ptr() & 15):
        return torch_answer()
    if _device_index is not None and _device_index() != plan.device_index:
        with torch.cuda.device(plan.device_index):
            return run(x, weight, bias)
    return run(x, weight, bias)


def _identical(ones: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return (
        ones[0] is others[0]
        and ones[1] is others[1]
        and ones[2] is others[2]
        and ones[3] is others[3]
        and ones[4] is others[4]
    )


def _integral(sizes: tuple[Any, ...]) -> bool:
    """Return whether every size is an int, a tuple of ints, or a named padding."""
    return all(
        type(size) in {int, str} or (isinstance(size, tuple) and all(type(one) is int for one in size))
        for size in sizes
    )


def _unkeyed(
    op: str, torch_answer: "Callable[[], Tensor]", x: Any, weight: Any, bias: Any, *sizes: Any
) -> "Tensor":
    """Answer a call whose arguments cannot be a dict key: lists become tuples; sparse tensors and wrong types go to torch."""
    if any(type(size) is list for size in sizes):
        tuples: tuple[Any, ...] = tuple(tuple(size) if type(size) is list else size for size in sizes)
        return _answer(op, torch_answer, x, weight, bias, *tuples)
    return torch_answer()


def conv1d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv1d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv1d(input, weight, bias, stride, padding, dilation, groups)

    return _answer("conv1d", torch_answer, input, weight, bias, stride, padding, 0, groups, dilation)


def conv2d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv2d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)

    return _answer("conv2d", torch_answer, input, weight, bias, stride, padding, 0, groups, dilation)


def conv3d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv3d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)

    return _answer("conv3d", torch_answer, input, weight, bias, stride, padding, 0, groups, dilation)


def conv_transpose1d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv_transpose1d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv_transpose1d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    return _answer(
        "conv_transpose1d",
        torch_answer,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose2d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv_transpose2d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv_transpose2d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    return _answer(
        "conv_transpose2d",
        torch_answer,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose3d(
    input: "Tensor",
    weight: "Tensor",
    bias: "Tensor | None" = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> "Tensor":
    """Answer as torch.nn.functional.conv_transpose3d does, with the fastest known kernel for this GPU and shape.

    Raises what torch raises for wrong arguments.
    """

    def torch_answer() -> "Tensor":
        return functional.conv_transpose3d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    return _answer(
        "conv_transpose3d",
        torch_answer,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def clear() -> None:
    """Forget all plans, packed weights and what was read from databases: call it after a sweep or a change of `weight.data`."""
    _plans.clear()
    plans.clear()
