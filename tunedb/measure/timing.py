"""GPU microseconds of calls: every repetition with a cold L2, queued together, interleaved."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tunedb.device import Device, current
from tunedb.record import Measurement

if TYPE_CHECKING:
    import torch

__all__ = ["Call", "Clock", "GpuClock", "WallClock", "rounds_within", "spread", "timed"]

Call = Callable[[], object]

FLUSH_US = 100.0  # what clearing L2 before a repetition takes, about


class Clock(Protocol):
    """Where calls run, and how long they take there."""

    place: "torch.device"
    device: Device

    def times_us(self, calls: Sequence[Call], rounds: int) -> list[list[float]]:
        """Run all calls in turn, `rounds` times; return the times of each call, in microseconds."""

    def allocated(self) -> int:
        """Return the bytes of tensors that are alive there."""

    def alive(self) -> bool:
        """Return whether the place still works after a failure."""


class GpuClock:
    """CUDA events around every call. Before each, a buffer of twice the L2 is written.

    That leaves nothing of the last call in L2, and takes longer (about 80 us) than the host needs to launch the
    next call: kernels of a few microseconds are timed at the GPU's speed, not at the host's.
    """

    def __init__(self, index: int, device: Device | None = None) -> None:
        """Use the GPU of that CUDA index; `device` says which code it is to run, its own by default."""
        import torch

        self.place = torch.device("cuda", index)
        torch.cuda.set_device(self.place)
        self.device = device or current(index)
        self._flush = torch.empty(
            max(256 << 20, 2 * self.device.l2_bytes), dtype=torch.int8, device=self.place
        )

    def times_us(self, calls: Sequence[Call], rounds: int) -> list[list[float]]:
        import torch

        def mark() -> Any:
            return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

        marks = [[(mark(), mark()) for _ in range(rounds)] for _ in calls]
        for turn in range(rounds):
            for index in _order(len(calls), turn):
                start, end = marks[index][turn]
                self._flush.zero_()
                start.record()
                calls[index]()
                end.record()
        torch.cuda.synchronize(self.place)
        return [[1e3 * start.elapsed_time(end) for start, end in of_one] for of_one in marks]

    def allocated(self) -> int:
        import torch

        return torch.cuda.memory_allocated(self.place)

    def alive(self) -> bool:
        import torch

        try:
            torch.cuda.synchronize(self.place)
            return int(torch.ones(1, dtype=torch.int32, device=self.place).add_(1).item()) == 2
        except RuntimeError:  # a lost context refuses everything
            return False


class WallClock:
    """The CPU's own time, for a machine without a GPU; `device` is the GPU that it stands in for."""

    def __init__(self, device: Device) -> None:
        import torch

        self.place = torch.device("cpu")
        self.device = device

    def times_us(self, calls: Sequence[Call], rounds: int) -> list[list[float]]:
        times: list[list[float]] = [[] for _ in calls]
        for turn in range(rounds):
            for index in _order(len(calls), turn):
                start = time.perf_counter()
                calls[index]()
                times[index].append(1e6 * (time.perf_counter() - start))
        return times

    def allocated(self) -> int:
        return 0

    def alive(self) -> bool:
        return True


def spread(times: Sequence[float]) -> tuple[float, float, float]:
    """Return median, 20th and 80th percentile."""
    if len(times) < 2:
        return times[0], times[0], times[0]
    fifths = statistics.quantiles(times, n=5, method="inclusive")
    return statistics.median(times), fifths[0], fifths[3]


def timed(measured: Measurement, times: Sequence[float]) -> Measurement:
    """Return a measurement with the spread of its times, unchanged where there are none."""
    if not times:
        return measured
    median, low, high = spread(times)
    return measured._replace(time_us=median, time_us_low=low, time_us_high=high)


def rounds_within(budget_us: float, first: Sequence[Sequence[float]], bounds: tuple[int, int]) -> int:
    """Return how many rounds like the first one fit a time box, within bounds."""
    a_round = sum(times[0] + FLUSH_US for times in first)
    return max(bounds[0], min(bounds[1], int(budget_us / a_round)))


def _order(count: int, turn: int) -> list[int]:
    """Return the order of a round: A B C, then B C A, so that no call always follows the same one."""
    first = turn % count if count else 0
    return [*range(first, count), *range(first)]
