"""How many candidates a driver keeps in flight between the compile pool and the GPU."""

import math

__all__ = ["Pace"]

# Compiled candidates that should wait for the GPU: enough to keep it busy, and no more, because a search that is
# asked later has seen more results.
_READY = 3


class Pace:
    """How many candidates must be in flight so that the GPU never waits: Little's law, with measured times.

    The slowest recent compilation counts, not the average: compile times have a long tail, and a few slow
    candidates would otherwise occupy all compile processes.
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
