"""Answers that pay in CUDA graphs only: outside of one the host takes longer for their launches than the GPU saves.

A kernel says by EAGER_FROM_US below which time of its own that is so. In eager calls torch answers then, beside which only the
weight is packed: a graph that is captured later finds it, and finds cuDNN's choice, which a first run has made.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb.dispatch.usable import Answer, kernel_named
from tunedb.kernel import Run

if TYPE_CHECKING:
    from torch import Tensor

    Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]

__all__ = ["in_graphs", "too_short_for_eager"]


def too_short_for_eager(found: Answer) -> str:
    """Return why torch answers eager calls in an answer's place; an empty string where it does not."""
    least = getattr(kernel_named(found.kernel), "EAGER_FROM_US", 0.0)
    if not least or (found.record is not None and found.record.time_us >= least):
        return ""
    return f" In CUDA graphs only: outside of them the host takes longer for it than the GPU saves below {least:g} us, and torch answers."


def in_graphs(run: Run, adapted: "Call", theirs: "Call") -> "Call":
    """Return what runs `adapted` while a CUDA graph is captured, and `theirs` else. `run` is the plan that `adapted` calls."""
    import torch

    capturing = torch.cuda.is_current_stream_capturing
    keep = getattr(getattr(run, "packer", None), "keep", None)
    ready = False

    def choose(x: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        nonlocal ready
        if capturing():
            return adapted(x, weight, bias)
        if not ready:
            ready = True
            return adapted(x, weight, bias)
        if keep is not None:
            keep(weight)
        return theirs(x, weight, bias)

    return choose
