"""How a kernel wants a weight laid out, as data: which element of the weight, or zero, each packed element is.

    packed element -> an index in each level -> the indices of the level's axes -> coordinates -> an element of the weight

A row of 64 for 9 taps of 5 channels is a level of size 64 with the axes tap and channel: 64 = 12 * 5 + 4, and taps 9 to 12
are beyond the kernel, so that the row ends in zeros. A layout is all that there is to say: `pack_with_torch` evaluates it with
torch, pack_kernel.py on the GPU.
"""

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

from tunedb.errors import ProblemError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Affine",
    "Axis",
    "Coordinate",
    "Layout",
    "Level",
    "affine",
    "level",
    "nearest_tf32",
    "pack_with_torch",
]


class Axis(NamedTuple):
    """One of the indices that a level's index is made of."""

    name: str
    size: int


class Level(NamedTuple):
    """One dimension of the packed tensor. Its index is, in mixed radix, the indices of its axes, the last one fastest.

    The first axis takes the remainder: its index may go beyond its size, up to what the level holds.
    """

    size: int
    axes: tuple[Axis, ...]


class Affine(NamedTuple):
    """(start + the sum of step * the index of an axis) / divisor."""

    steps: tuple[tuple[str, int], ...]  # (the name of an axis, step)
    start: int = 0
    divisor: int = 1


class Coordinate(NamedTuple):
    """A whole number from 0 to extent - 1, which moves the index into one dimension of the weight.

    A packed element of which a coordinate is no such number is zero. Without a dimension, a coordinate only says so.
    """

    at: Affine
    extent: int
    dim: int | None = None
    times: int = 1  # elements along that dimension


class Layout(NamedTuple):
    """The layout of a packed weight."""

    weight_shape: tuple[int, ...]
    levels: tuple[Level, ...]  # outermost first; their sizes are the shape of the packed tensor
    coordinates: tuple[Coordinate, ...]
    # To the nearest TF32, float32 only. The kernel then need not round, and the error of a product is half of what it would be.
    rounded: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(one.size for one in self.levels)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def check(self, weight: "Tensor") -> None:
        """Raise ProblemError where a weight has not the shape that the layout is for."""
        if tuple(weight.shape) != self.weight_shape:
            raise ProblemError(
                f"a weight must have the shape {self.weight_shape} that this plan was made for, but has {tuple(weight.shape)}."
            )


@functools.lru_cache(4096)  # layouts of a layer's lengths are equal
def level(size: int, **axes: int) -> Level:
    """Return a level of the axes name=size, the last one fastest."""
    return Level(size, tuple(Axis(name, count) for name, count in axes.items()))


@functools.lru_cache(4096)
def affine(start: int = 0, divisor: int = 1, **steps: int) -> Affine:
    """Return (start + the sum of the steps name=step) / divisor."""
    return Affine(tuple(steps.items()), start, divisor)


def pack_with_torch(layout: Layout, weight: "Tensor") -> "Tensor":
    """Return a weight in a layout, as a new contiguous tensor of layout.shape, with torch's operations.

    Raises ProblemError: where the weight is of another shape.
    """
    import torch

    layout.check(weight)
    indices = _indices(layout, weight.device)
    inside = torch.ones((), dtype=torch.bool, device=weight.device)
    of_dims: list[Tensor] = [torch.zeros((), dtype=torch.int64, device=weight.device)] * weight.ndim
    for (steps, start, divisor), extent, dim, times in layout.coordinates:
        value = torch.full((), start, device=weight.device)
        for name, step in steps:
            value = value + step * indices[name]
        whole = (value >= 0) & (value % divisor == 0) & (value < extent * divisor)
        inside = inside & whole
        if dim is not None:
            of_dims[dim] = of_dims[dim] + times * torch.where(whole, value // divisor, 0)
    # Indices of few dimensions are broadcast here; beyond the level's own axes nothing large is made of them.
    zero = torch.zeros((), dtype=weight.dtype, device=weight.device)
    found = torch.where(inside, weight[tuple(of_dims)], zero)
    found = found.expand(layout.shape).contiguous()
    return nearest_tf32(found) if layout.rounded else found


def _indices(layout: Layout, device: "torch.device") -> "dict[str, Tensor]":
    """Return the index of each axis, shaped to be broadcast over the packed tensor."""
    import torch

    found: dict[str, Tensor] = {}
    for place, (size, axes) in enumerate(layout.levels):
        shape = [size if other == place else 1 for other in range(len(layout.levels))]
        rest = torch.arange(size, device=device).reshape(shape)
        for name, count in axes[:0:-1]:
            found[name] = rest % count
            rest = rest // count
        if axes:
            found[axes[0].name] = rest
    return found


def nearest_tf32(tensor: "Tensor") -> "Tensor":
    """Return float32 values rounded to TF32's 10 mantissa bits, ties away from zero; NaN and infinity stay."""
    import torch

    bits = (tensor.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(tensor.isfinite(), bits.view(torch.float32), tensor)
