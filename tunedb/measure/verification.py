"""What a candidate that was right once must still do: give the same bits in every repetition, and change nothing else.

A kernel with a race is right most of the time, one that trusts what it finds in the output is right the second time, and one
that launches on a stream of its own is right if the host waits long enough. None of that shows in one checked result, so every
timed repetition writes over a poisoned output; of a finalist each leaves a checksum, of a trial, which only ranks, the last.
"""

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tunedb.measure.guards import whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Watched", "checksum", "checksums"]


class Watched:
    """A call that writes `out`, watched in every repetition: a Call of a Clock."""

    def __init__(self, call: "Callable[[], Tensor]", out: "Tensor") -> None:
        self.out = out
        self._call = call
        self._expected: Tensor | None = None
        self._seen: list[Tensor] = []

    def __call__(self) -> "Tensor":
        return self._call()

    def before(self) -> None:
        """Poison the output: who writes only a part of it, or trusts what it finds there, is seen."""
        self.out.fill_(math.nan)

    def after(self) -> None:
        """Queue the checksum of the output; nothing is waited for."""
        self._seen.append(checksum(self.out))

    def poisoned(self) -> "Poisoned":
        """Return the call without its checksums, to be timed: `after` looks at the last repetition."""
        return Poisoned(self)

    def first(self, hold: Callable[[], None]) -> "Tensor":
        """Call once; its bits are what all later ones are held against.

        With `hold` the stream is busy meanwhile: what the call does on another stream is over before the output is poisoned.
        """
        hold()
        self.before()
        result = self._call()
        self._expected = checksum(self.out)
        return result

    def again(self, times: int) -> None:
        """Call as often more, as fast as it goes."""
        for _ in range(times):
            self.before()
            self._call()
            self.after()

    def differing(self) -> str:
        """Return how many repetitions gave other bits than the first call; an empty string for none. Waits for them."""
        import torch

        if not self._seen:
            return ""
        assert self._expected is not None, "first comes first"
        wrong = int((torch.stack(self._seen) != self._expected).sum())
        count = len(self._seen)
        self._seen.clear()
        return f"{wrong} of {count} repetitions gave other bits than the first call" if wrong else ""


class Poisoned:
    """A call that writes over a poisoned output in every repetition."""

    def __init__(self, watched: Watched) -> None:
        self.before = watched.before
        self._call = watched

    def __call__(self) -> "Tensor":
        return self._call()


def checksum(tensor: "Tensor") -> "Tensor":
    """Return the sum of a dense tensor's bits as integers of 8 bytes or fewer: any single change changes it."""
    import torch

    bytes_ = tensor.numel() * tensor.element_size()
    flat = torch.as_strided(tensor, (tensor.numel(),), (1,))
    kind = next(kind for kind in (torch.int64, torch.int32, torch.int16) if bytes_ % kind.itemsize == 0)
    return flat.view(kind).sum(dtype=torch.int64)


def checksums(guarded: "Iterable[Tensor]", plain: "Iterable[Tensor]" = ()) -> "Tensor":
    """Return the checksums of tensors, of guarded ones with their guards, as one tensor."""
    import torch

    return torch.stack([checksum(tensor) for tensor in (*map(whole, guarded), *plain)])
