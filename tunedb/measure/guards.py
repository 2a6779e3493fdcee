"""Tensors between guards: memory on both sides that holds NaN, which nothing may read and nothing may change."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["GUARD", "broken", "guarded_empty", "mend", "whole"]

GUARD = (
    1 << 16
)  # bytes on each side: more than a tile reaches past an edge; a multiple of what the allocator aligns to

# Bits of a NaN with a payload that no arithmetic gives, by bytes an element: float16 and bfloat16 share theirs.
_BITS = {2: 0x7FA5, 4: 0x7FA5A5A5, 8: 0x7FFDA5A5A5A5A5A5}


def guarded_empty(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: "torch.dtype", place: Any
) -> "Tensor":
    """Return a dense tensor that is not yet written, with guards in its own storage, aligned as the allocator aligns."""
    import torch

    margin = GUARD // dtype.itemsize
    reach = (
        1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) if 0 not in shape else 0
    )
    whole = torch.empty(2 * margin + reach, dtype=dtype, device=place)
    tensor = whole.as_strided(shape, strides, margin)
    mend(tensor)
    return tensor


def mend(tensor: "Tensor") -> None:
    """Write the guards of a tensor anew."""
    for guard in _guards(tensor):
        guard.fill_(_BITS[tensor.dtype.itemsize])


def broken(tensor: "Tensor") -> "Tensor":
    """Return whether something has written to the guards, as a tensor of one bool."""
    before, behind = ((guard != _BITS[tensor.dtype.itemsize]).any() for guard in _guards(tensor))
    return before | behind


def whole(tensor: "Tensor") -> "Tensor":
    """Return a tensor of guarded_empty with its guards, flat."""
    import torch

    assert tensor.storage_offset() == GUARD // tensor.dtype.itemsize, (
        "the tensor must be one of guarded_empty"
    )
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(tensor.untyped_storage())


def _guards(tensor: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return the two guards as integers."""
    import torch

    size = tensor.dtype.itemsize
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    margin = GUARD // size
    flat = whole(tensor).view(kind)
    return flat[:margin], flat[-margin:]
