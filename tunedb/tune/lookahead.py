"""How many candidates a driver keeps under way between the compile pool and the GPU."""

import math

__all__ = ["Pace"]

# Compiled candidates that should wait for the GPU: enough that it is never idle, and no more, because the later
# the search is asked, the more results it has seen.
_READY = 3


class Pace:
    """How many candidates must be under way for the GPU never to wait: by Little's law, from what is measured.

    Compile times have a long tail: a few slow candidates would hold all places if the average counted.
    """

    def __init__(self) -> None:
        self._compile_s: float | None = None  # the slowest lately
        self._trial_s: float | None = None

    def compiled(self, seconds: float) -> None:
        self._compile_s = max(seconds, 0.9 * (self._compile_s or 0.0))

    def timed(self, seconds: float) -> None:
        self._trial_s = seconds if self._trial_s is None else 0.8 * self._trial_s + 0.2 * seconds

    def depth(self, most: int) -> int:
        if self._compile_s is None or self._trial_s is None:
            return most
        return min(most, math.ceil(self._compile_s / max(self._trial_s, 1e-3)) + _READY)
