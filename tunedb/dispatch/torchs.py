"""Torch's own convolution, in the order of arguments of either kind."""

from typing import TYPE_CHECKING, Any

from tunedb.problem import is_transposed
from tunedb.torch_internals import CONVOLUTIONS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["torch_convolution"]


def torch_convolution(
    op: str, x: "Tensor", weight: "Tensor", bias: "Tensor | None",
    stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
) -> "Tensor":  # fmt: skip
    """Call torch's own function."""
    if is_transposed(op):
        return CONVOLUTIONS[op](x, weight, bias, stride, padding, output_padding, groups, dilation)
    return CONVOLUTIONS[op](x, weight, bias, stride, padding, dilation, groups)
