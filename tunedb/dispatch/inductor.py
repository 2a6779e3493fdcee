"""What Inductor writes for a layer that tunedb answers: a call of this module, past torch's dispatcher.

An operator in Python costs some ten microseconds between the compiled code and the kernel, as much as the launch itself. What is
written instead recognises the call by its weight, as an eager one. Inductor's own names have no public API: where one is missing
or otherwise defined, the operator is called, which is as right.
"""

import functools
import warnings
from typing import TYPE_CHECKING, Any

import torch

from tunedb.dispatch.calls import find, on_device, planned, unaligned
from tunedb.dispatch.torchs import torch_convolution
from tunedb.errors import TunedbWarning
from tunedb.launch import dense_strides
from tunedb.problem import op_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["answered", "called", "captures_graphs", "write_direct_calls"]

NAME = "tunedb_called"  # in the namespace that Inductor's code takes kernels from


def called(
    x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None, *,
    op: str, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any, last: bool,
) -> "Tensor":  # fmt: skip
    """Answer a call of compiled code, whose sizes are constants: the very same objects each time. `last`: out is channels_last."""
    sizes = (stride, padding, output_padding, groups, dilation)
    run = find(op, x, weight, bias, *sizes)
    if run is not None:
        return run(x, weight, bias)
    # A mode of the compiler's own is active while it runs code for the first time: nobody needs to see what was compiled.
    return answered(op, x, weight, bias, sizes, last=last)


def answered(
    op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None", sizes: tuple[Any, ...], *, last: bool
) -> "Tensor":
    """Run the plan of a call, or torch's own function, in the strides that a compiled graph counts on."""
    plan = planned(op, x, weight, bias, sizes)
    if plan is not None and plan.run is not None and not unaligned(x, bias):
        return on_device(plan.device_index, plan.run)(x, weight, bias)
    out = torch_convolution(op, x, weight, bias, *sizes)
    strides = dense_strides(tuple(out.shape), "channels_last" if last else "channels_first")
    if out.stride() == strides:
        return out
    return torch.empty_strided(out.shape, strides, dtype=out.dtype, device=out.device).copy_(out)


def captures_graphs() -> bool:
    """Return whether Inductor will capture CUDA graphs of what it compiles (mode="reduce-overhead"); True where it does not say."""
    try:
        from torch._inductor import config

        return bool(config.triton.cudagraphs)
    except (AttributeError, ImportError):
        return True


@functools.cache
def write_direct_calls() -> bool:
    """Teach Inductor to write calls of `called` for tunedb's operator; return whether it takes them."""
    try:
        from torch._inductor import ir, lowering, select_algorithm
        from torch._inductor.virtualized import V

        operator = torch.ops.tunedb.tuned.default
        names: Any = lowering  # without types
        by_operator = names.fallback_handler(operator)
        setattr(select_algorithm.extern_kernels, NAME, called)

        def lowered(x: Any, weight: Any, bias: Any, *sizes: Any) -> Any:
            direct = (
                None if V.graph.cpp_wrapper or V.graph.aot_mode else _direct(ir, V, x, weight, bias, *sizes)
            )
            return by_operator(x, weight, bias, *sizes) if direct is None else direct

        names.add_needs_realized_inputs(operator)
        names.register_lowering(operator, type_promotion_kind=None)(lowered)
    except (AttributeError, ImportError, TypeError) as error:
        warnings.warn(
            f"tunedb needs names of torch._inductor that torch {torch.__version__} lacks or defines otherwise ({error}). Compiled "
            "models call tunedb's operator in their place, some microseconds a layer slower. Install a version of torch that tunedb "
            "is tested with (constraints.txt).",
            TunedbWarning,
            stacklevel=2,
        )
        return False
    return True


def _direct(
    ir: Any, V: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any,
    groups: Any,
) -> Any:  # fmt: skip
    """Return Inductor's node of a direct call; None for dynamic shapes."""
    fake = V.graph.current_node.meta["val"]
    numbers = (*fake.shape, *fake.stride(), *stride, *padding, *dilation, *output_padding, groups)
    if not all(type(one) is int for one in numbers):
        return None
    sizes = {
        "op": op_of(len(stride), transposed=transposed),
        "stride": tuple(stride),
        "padding": tuple(padding),
        "output_padding": tuple(output_padding),
        "groups": groups,
        "dilation": tuple(dilation),
        "last": fake.stride() != dense_strides(tuple(fake.shape), "channels_first"),
    }
    tensors = [ir.ExternKernel.realize_input(one) for one in (x, weight, bias) if one is not None]
    layout = ir.FixedLayout(fake.device, fake.dtype, [*fake.shape], [*fake.stride()])
    node = ir.ExternKernelAlloc(
        layout=layout, inputs=tensors, kwargs=sizes, python_kernel_name=f"extern_kernels.{NAME}"
    )
    return ir.TensorBox.create(node)
