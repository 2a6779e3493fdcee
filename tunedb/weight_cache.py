"""Packed weights: each is made once, and kept while its weight lives and does not change."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tunedb.torch_internals import raw_stream, versions_are_counted

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

    An entry belongs to one tensor and is dropped with it: a module that computes its weight in every call (weight norm)
    packs in every call but keeps no memory. Torch's version counter does not see changes through `weight.data`: call
    `tunedb.clear()` after one. Where torch has no version counter, nothing is kept.
    """

    def __init__(self, pack: "Callable[[Tensor], Tensor]") -> None:
        self._pack = pack
        self._keeps = versions_are_counted()
        self._entries: dict[int, _Packed] = {}

    def __call__(self, weight: "Tensor") -> "Tensor":
        entry = self._entries.get(id(weight))
        if entry is not None and _current(entry, weight) and entry.stream == _stream(weight):
            return entry.packed
        return self._miss(weight, entry)

    def clear(self) -> None:
        self._entries.clear()

    def _miss(self, weight: "Tensor", entry: _Packed | None) -> "Tensor":
        if not self._keeps or weight.is_inference() or _capturing(weight):
            # Never kept: a change could not be seen, or the memory belongs to a CUDA graph.
            return self._pack(weight.detach())
        key, stream = id(weight), _stream(weight)
        if entry is not None and _current(entry, weight):
            # Packed on another stream: wait for it once, then count it as packed on this stream.
            packed = entry.packed
            _adopt(packed)
        else:
            packed = self._pack(weight.detach())
        entries = self._entries
        owner = weakref.ref(weight, lambda _: entries.pop(key, None))
        entries[key] = _Packed(owner, weight._version, weight.data_ptr(), packed, stream)
        return packed


def _current(entry: _Packed, weight: "Tensor") -> bool:
    # Reading `_version` of an inference tensor raises, but those are never kept, so that no entry is theirs.
    return entry.owner() is weight and entry.version == weight._version and entry.address == weight.data_ptr()


def _stream(tensor: "Tensor") -> int:
    return raw_stream(tensor.device.index) if tensor.is_cuda else 0


def _capturing(tensor: "Tensor") -> bool:
    import torch

    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _adopt(packed: "Tensor") -> None:
    import torch

    torch.cuda.synchronize(packed.device)
    packed.record_stream(torch.cuda.current_stream(packed.device))
