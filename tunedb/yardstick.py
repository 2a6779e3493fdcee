"""What every candidate is held against: a problem's tensors, and torch's own convolution of them."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.kernel import load
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Tensors", "empty_output", "make_tensors", "torch_call"]

SEED = 0


class Tensors(NamedTuple):
    """x and weight in the problem's layout, as torch users keep them."""

    x: "Tensor"
    weight: "Tensor"
    bias: "Tensor | None"


def make_tensors(problem: Problem, place: Any) -> Tensors:
    """Return seeded normal tensors, with weights so scaled that results are about 1 and fit 16-bit types."""
    import torch

    dtype = getattr(torch, problem.dtype)
    generator = torch.Generator(place).manual_seed(SEED)
    x = _empty(problem.input_shape, problem.layout, dtype, place).normal_(generator=generator)
    # nn.Module.to(memory_format=torch.channels_last) lays weights out so; it has none for one dimension.
    weight_layout = problem.layout if problem.rank > 1 else "channels_first"
    weight = _empty(problem.weight_shape, weight_layout, dtype, place).normal_(generator=generator)
    weight /= math.sqrt(math.prod(problem.kernel) * problem.c_in // problem.groups)
    bias = None
    if problem.bias:
        bias = _empty((problem.c_out,), "channels_first", dtype, place).normal_(generator=generator)
    return Tensors(x, weight, bias)


def empty_output(problem: Problem, place: Any) -> "Tensor":
    """Return an output in the problem's layout, not yet written."""
    import torch

    return _empty(problem.output_shape, problem.layout, getattr(torch, problem.dtype), place)


def torch_call(problem: Problem, tensors: Tensors, searched: bool) -> "Callable[[], Tensor]":
    """Return a call of torch's own convolution, with or without cudnn.benchmark, in the problem's precision."""
    module = load("aten")
    run = module.plan(problem, module.Config(), _no_launch)
    tf32 = problem.precision == "tf32"

    def call() -> "Tensor":
        with _cudnn(searched, tf32):
            result: Tensor = run(*tensors)
        return result

    return call


def _empty(shape: tuple[int, ...], layout: str, dtype: Any, place: Any) -> "Tensor":
    """Return a dense tensor with that order of elements in memory, of any number of dimensions."""
    import torch

    if layout == "channels_first" or len(shape) < 3:
        return torch.empty(shape, dtype=dtype, device=place)
    return torch.empty((shape[0], *shape[2:], shape[1]), dtype=dtype, device=place).movedim(-1, 1)


@contextmanager
def _cudnn(benchmark: bool, tf32: bool) -> Iterator[None]:
    from torch.backends import cudnn

    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before


def _no_launch(*_: Any) -> Callable[..., None]:
    raise AssertionError("torch's own kernel is not launched by tunedb")
