"""What is made of a weight once for each tensor, and kept while the tensor lives and does not change."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Packer"]


class _Packed(NamedTuple):
    owner: "weakref.ref[Tensor]"
    version: int
    address: int
    packed: "Tensor"
    stream: int


class Packer:
    """Packs a weight when first seen, and again when it was changed in place.

    Entries are keyed by the identity of the tensor and die with it, so a module that computes its weight
    anew in every call (weight norm) costs a packing a call but no memory. Changes through `weight.data`
    are invisible to torch's version counter: call `tunedb.clear()` after one.
    """

    def __init__(self, pack: "Callable[[Tensor], Tensor]") -> None:
        self._pack = pack
        self._entries: dict[int, _Packed] = {}

    def __call__(self, weight: "Tensor") -> "Tensor":
        entry = self._entries.get(id(weight))
        if entry is not None and _current(entry, weight) and entry.stream == _stream(weight):
            return entry.packed
        return self._miss(weight, entry)

    def clear(self) -> None:
        self._entries.clear()

    def _miss(self, weight: "Tensor", entry: _Packed | None) -> "Tensor":
        if weight.is_inference() or _capturing(weight):
            # No way to see a change, or memory that belongs to a graph: never kept.
            return self._pack(weight.detach())
        key, stream = id(weight), _stream(weight)
        if entry is not None and _current(entry, weight):
            # Packed on another stream: wait for that once, then it counts as packed on this one.
            packed = entry.packed
            _adopt(packed)
        else:
            packed = self._pack(weight.detach())
        entries = self._entries
        owner = weakref.ref(weight, lambda _: entries.pop(key, None))
        entries[key] = _Packed(owner, weight._version, weight.data_ptr(), packed, stream)
        return packed


def _current(entry: _Packed, weight: "Tensor") -> bool:
    # An inference tensor has no version counter: none is ever entered, so the counter is there.
    return entry.owner() is weight and entry.version == weight._version and entry.address == weight.data_ptr()


def _stream(tensor: "Tensor") -> int:
    import torch

    return torch._C._cuda_getCurrentRawStream(tensor.device.index) if tensor.is_cuda else 0


def _capturing(tensor: "Tensor") -> bool:
    import torch

    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _adopt(packed: "Tensor") -> None:
    import torch

    torch.cuda.synchronize(packed.device)
    packed.record_stream(torch.cuda.current_stream(packed.device))
