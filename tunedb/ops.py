"""The six operations, with torch's signatures.

The operators of torch.compile are imported when a call is first compiled: defining them takes longer than the rest.
"""

from typing import TYPE_CHECKING

from torch.compiler import is_compiling

from tunedb.dispatch import calls
from tunedb.dispatch.calls import find
from tunedb.torch_internals import CONVOLUTIONS

if TYPE_CHECKING:
    from torch import Tensor


__all__ = [
    "clear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "stats",
]

Size = int | tuple[int, ...] | list[int]

_conv1d = CONVOLUTIONS["conv1d"]
_conv2d = CONVOLUTIONS["conv2d"]
_conv3d = CONVOLUTIONS["conv3d"]
_conv_transpose1d = CONVOLUTIONS["conv_transpose1d"]
_conv_transpose2d = CONVOLUTIONS["conv_transpose2d"]
_conv_transpose3d = CONVOLUTIONS["conv_transpose3d"]


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced("conv1d", input, weight, bias, stride, padding, 0, groups, dilation)
    run = find("conv1d", input, weight, bias, stride, padding, 0, groups, dilation)
    if run is None:
        return _conv1d(input, weight, bias, stride, padding, dilation, groups)
    return run(input, weight, bias)


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced("conv2d", input, weight, bias, stride, padding, 0, groups, dilation)
    run = find("conv2d", input, weight, bias, stride, padding, 0, groups, dilation)
    if run is None:
        return _conv2d(input, weight, bias, stride, padding, dilation, groups)
    return run(input, weight, bias)


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced("conv3d", input, weight, bias, stride, padding, 0, groups, dilation)
    run = find("conv3d", input, weight, bias, stride, padding, 0, groups, dilation)
    if run is None:
        return _conv3d(input, weight, bias, stride, padding, dilation, groups)
    return run(input, weight, bias)


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced(
            "conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    run = find("conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation)
    if run is None:
        return _conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return run(input, weight, bias)


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced(
            "conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    run = find("conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups, dilation)
    if run is None:
        return _conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return run(input, weight, bias)


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
    if is_compiling():
        from tunedb.dispatch import operators

        return operators.traced(
            "conv_transpose3d", input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    run = find("conv_transpose3d", input, weight, bias, stride, padding, output_padding, groups, dilation)
    if run is None:
        return _conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return run(input, weight, bias)


def clear() -> None:
    """Forget all plans, packed weights and what was read from databases: call it after a sweep or a change of `weight.data`.

    A CUDA graph that was captured before reads packed weights that are forgotten here: capture it again.
    """
    from tunedb.weights import cache

    calls.clear()
    cache.clear()


def stats() -> dict[str, int]:
    """Return what tunedb holds in this process.

    `plans` are tensor signatures that have a plan, `plans_of_torch` those of them that torch answers, and `plans_exact`,
    `plans_near`, `plans_other_device`, `plans_default`, `plans_aten` and `plans_none` those of each tier; none: nothing was
    looked up. `packed_weights` and `packed_bytes` are the packed copies of weights, on all GPUs. A packed copy goes with its
    weight.
    """
    from tunedb.weights import cache

    held = cache.stats().values()
    return {
        **calls.count(),
        "packed_weights": sum(one.weights for one in held),
        "packed_bytes": sum(one.bytes for one in held),
    }
