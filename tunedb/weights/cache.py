"""Packed weights: each is made once, shared by all plans of its layout, and kept while its weight lives."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tunedb.torch_internals import versions_are_counted
from tunedb.weights.layout import Layout
from tunedb.weights.memory import kept_empty
from tunedb.weights.press import Press

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Held", "Packer", "clear", "is_kept_at_once", "stats"]


class Held(NamedTuple):
    """What packed weights take on one device."""

    weights: int
    bytes: int


class _Packed(NamedTuple):
    owner: "weakref.ref[Tensor]"
    version: int
    address: int
    packed: "Tensor"


class _Shelf:
    """The packed weights of one layout, by the identity of their weights, and what packs them."""

    def __init__(self, press: "Press | _FunctionPress") -> None:
        self.press = press
        self.entries: dict[int, _Packed] = {}
        self.seen: dict[int, weakref.ref[Tensor]] = {}  # packed once, and not kept

    def drop(self, key: int) -> None:
        """Forget a weight. Called by the garbage collector too, anywhere: it takes no lock."""
        self.entries.pop(key, None)
        if not self.entries:
            _filled.discard(self)

    def clear(self) -> None:
        held = list(self.entries.values())
        self.entries.clear()
        self.seen.clear()
        self.press.clear()
        _filled.discard(self)
        _wait_for_readers(held)


# A shelf lives with its plans, and while it holds a weight: a CUDA graph may read that weight when the plan that packed it is
# long dropped. Layouts that are equal have one shelf.
_shelves: "weakref.WeakSet[_Shelf]" = weakref.WeakSet()
_of_layout: "weakref.WeakValueDictionary[Layout, _Shelf]" = weakref.WeakValueDictionary()
_filled: set[_Shelf] = set()
_lock = threading.RLock()  # while a weight is packed; a weight that is found takes none


class Packer:
    """Packs weights in a layout, or by a function of a weight: a weight when first seen, and when it was changed in place.

    Packers of equal layouts share what they have packed, so that inputs of all lengths, eager calls, compiled ones and CUDA
    graphs read one copy. It is waited for when it is made: every stream and every graph may read it from then on. A weight
    that was changed in place is packed again into the same memory, in all its layouts, which a graph that was captured before
    reads too. A packed weight is dropped with its weight.

    A parameter is kept when first seen. Any other tensor is kept from its second call on: one that is computed in every call
    (weight norm) is packed in every call, but is neither waited for nor kept. Nothing is kept of a weight that is first seen
    while a CUDA graph is captured (the graph itself packs it, in one launch), nor of inference tensors, nor where torch has
    no version counter: a change could not be seen. The counter misses changes through `weight.data` and by the replay of a
    graph: call `tunedb.clear()` after one.
    """

    def __init__(self, layout: "Layout | Callable[[Tensor], Tensor]") -> None:
        with _lock:
            shelf = _of_layout.get(layout) if isinstance(layout, Layout) else None
            if shelf is None:
                shelf = _Shelf(Press(layout) if isinstance(layout, Layout) else _FunctionPress(layout))
                _shelves.add(shelf)
                if isinstance(layout, Layout):
                    _of_layout[layout] = shelf
        self._shelf = shelf
        self._entries = shelf.entries
        self._keeps = versions_are_counted()

    def __call__(self, weight: "Tensor") -> "Tensor":
        """Return the packed weight.

        Raises ProblemError: where the weight has not the layout's shape. Raises CaptureError: where a CUDA graph is captured
        and `prepare` was not called before.
        """
        entry = self._entries.get(id(weight))
        if entry is not None:
            owner, version, address, packed = entry
            # Reading `_version` of an inference tensor raises, but those are never kept, so that no entry is theirs.
            if owner() is weight and version == weight._version and address == weight.data_ptr():
                return packed
        return self._miss(weight)

    def keep(self, weight: "Tensor") -> None:
        """Pack a weight for later calls, where it will be seen again: nothing for one that is computed anew in every call.

        Raises ProblemError: where the weight has not the layout's shape.
        """
        if not self._counts(weight) or _capturing(weight):
            return
        with _lock:
            if id(weight) in self._entries:
                self(weight)
            elif self._stays(weight):
                _keep(self._shelf, weight, None)

    def prepare(self, dtype: "torch.dtype") -> None:
        """Make all that packing needs on the current GPU, so that a CUDA graph may pack; nothing without one or during a capture."""
        import torch

        if torch.cuda.is_available() and not torch.cuda.is_current_stream_capturing():
            self._shelf.press.prepare(dtype, torch.device("cuda", torch.cuda.current_device()))

    def clear(self) -> None:
        """Drop all that is packed in this layout, other plans' too: CUDA graphs that read it must be captured again."""
        with _lock:
            self._shelf.clear()

    def _miss(self, weight: "Tensor") -> "Tensor":
        press = self._shelf.press
        capturing = _capturing(weight)
        if not self._counts(weight) or capturing:
            # Never kept: a change could not be seen, or the memory belongs to a CUDA graph.
            return press(weight.detach(), capturing=capturing)
        with _lock:
            entry = self._entries.get(id(weight))
            if entry is not None and entry.owner() is not weight:
                entry = None
            if entry is not None and (entry.version, entry.address) == (weight._version, weight.data_ptr()):
                return entry.packed  # another thread has just packed it
            if entry is None and not self._stays(weight):
                return press(weight.detach())
            packed = _keep(self._shelf, weight, None if entry is None else entry.packed)
            _renew(weight)
            return packed

    def _counts(self, weight: "Tensor") -> bool:
        """Return whether torch counts the changes of a weight, so that a packed copy can be told from a stale one."""
        return self._keeps and not weight.is_inference()

    def _stays(self, weight: "Tensor") -> bool:
        """Return whether a weight will be seen again: it is a parameter, or was seen before."""
        import torch

        seen, key = self._shelf.seen, id(weight)
        if isinstance(weight, torch.nn.Parameter):
            return True
        known = seen.pop(key, None)
        if known is not None and known() is weight:
            return True
        seen[key] = weakref.ref(weight, lambda _: seen.pop(key, None))
        return False


def _keep(shelf: _Shelf, weight: "Tensor", before: "Tensor | None") -> "Tensor":
    """Pack a weight into the memory that it had before, else into memory of its own, and wait for it."""
    # The version is read first: a weight that another thread changes meanwhile is packed once more.
    version, address, key = weight._version, weight.data_ptr(), id(weight)
    packed = shelf.press.kept(weight.detach(), before)
    if weight.is_cuda:
        import torch

        torch.cuda.current_stream(weight.device).synchronize()
    owner = weakref.ref(weight, lambda _: shelf.drop(key))
    shelf.entries[key] = _Packed(owner, version, address, packed)
    _filled.add(shelf)
    return packed


def _renew(weight: "Tensor") -> None:
    """Pack a weight that was changed in place again in its other layouts too: a CUDA graph may read one that no call passes by."""
    version, address = weight._version, weight.data_ptr()
    for shelf in list(_filled):
        entry = shelf.entries.get(id(weight))
        # Of new memory (`.to()`) the other layouts may not take the type: their next call says so.
        if (
            entry is not None
            and entry.owner() is weight
            and entry.address == address
            and entry.version != version
        ):
            _keep(shelf, weight, entry.packed)


class _FunctionPress:
    """Packs by a function of a weight, such as a kernel of another distribution may have."""

    def __init__(self, function: "Callable[[Tensor], Tensor]") -> None:
        self._function = function

    def __call__(self, weight: "Tensor", *, capturing: bool = False) -> "Tensor":
        del capturing
        return self._function(weight)

    def kept(self, weight: "Tensor", before: "Tensor | None") -> "Tensor":
        import torch

        with torch.inference_mode(mode=False):
            made = self._function(weight)
            form = (made.shape, made.stride(), made.dtype, made.device)
            if before is None or (before.shape, before.stride(), before.dtype, before.device) != form:
                reach = 1 + sum(
                    (size - 1) * step for size, step in zip(made.shape, made.stride(), strict=True)
                )
                flat = kept_empty((reach,), made.dtype, made.device)
                before = flat.as_strided(made.shape, made.stride())
            return before.copy_(made)

    def prepare(self, dtype: "torch.dtype", device: "torch.device") -> None:
        pass

    def clear(self) -> None:
        pass


def is_kept_at_once(weight: "Tensor") -> bool:
    """Return whether packers keep a weight when first seen: a parameter whose changes torch counts."""
    import torch

    return isinstance(weight, torch.nn.Parameter) and not weight.is_inference() and versions_are_counted()


def stats() -> dict[str, Held]:
    """Return what packed weights take on each device ("cuda:0")."""
    found: dict[str, Held] = {}
    for shelf in list(_shelves):
        for entry in list(shelf.entries.values()):
            device = str(entry.packed.device)
            weights, held = found.get(device, (0, 0))
            found[device] = Held(weights + 1, held + entry.packed.untyped_storage().nbytes())
    return found


def clear() -> None:
    """Drop all packed weights: CUDA graphs that read them must be captured again."""
    with _lock:
        for shelf in list(_shelves):
            shelf.clear()


def _wait_for_readers(held: Sequence[_Packed]) -> None:
    """Let all streams finish reading what is about to be freed: freed memory is used again in the order of one stream only."""
    import torch

    devices = {entry.packed.device for entry in held if entry.packed.is_cuda}
    if devices and not torch.cuda.is_current_stream_capturing():
        for device in devices:
            torch.cuda.synchronize(device)


def _capturing(tensor: "Tensor") -> bool:
    import torch

    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()
