"""GPU microseconds of calls: every repetition with a cold L2, queued together, interleaved."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tunedb.device import Device, current
from tunedb.measure.versions import sm_clock_mhz
from tunedb.record import Measurement

if TYPE_CHECKING:
    import torch

__all__ = ["Call", "Clock", "GpuClock", "Quality", "WallClock", "is_wide", "rounds_within", "spread", "timed"]

Call = Callable[[], object]

FLUSH_US = 100.0  # what clearing L2 before a repetition takes, about
AGAIN = 3  # times that repetitions which the host queued too late are made again
WIDE = 0.06  # of the median, between the 20th and the 80th percentile; 0.02 is usual
HOLD = 10  # clearings of L2: about a millisecond
LEAD = 3  # clearings before the first repetition: else the host, which has just waited, is late for it


class Quality(NamedTuple):
    """How times came about: repetitions that were dropped as late, of all calls together, and the GPU's clock in MHz; None: not known."""

    late: int | None = None
    clock_mhz: int | None = None


class Clock(Protocol):
    """Where calls run, and how long they take there."""

    place: "torch.device"
    device: Device

    def times_us(self, calls: Sequence[Call], rounds: int) -> list[list[float]]:
        """Run all calls in turn, `rounds` times; return the times of each call, in microseconds.

        Where a call has them, its methods `before` and `after` run around each repetition, outside of the time.
        """

    def quality(self) -> "Quality":
        """Return what is known of how the times since the last call of this came about."""

    def hold(self) -> None:
        """Queue work of a millisecond: what a call does on another stream happens before what is queued here behind it."""

    def allocated(self) -> int:
        """Return the bytes of tensors that are alive there."""

    def alive(self) -> bool:
        """Return whether the place still works after a failure."""


class GpuClock:
    """CUDA events around every call. Before each, a buffer of twice the L2 is written.

    That leaves nothing of the last call in L2, and takes longer (about 80 us) than the host needs to launch the
    next call: kernels of a few microseconds are timed at the GPU's speed, not at the host's. Where the host was too late
    all the same (another process had the core), the GPU has waited for it, and the repetition is dropped and made again.
    """

    def __init__(self, index: int, device: Device | None = None) -> None:
        """Use the GPU of that CUDA index; `device` says which code it is to run, its own by default."""
        import torch

        self.place = torch.device("cuda", index)
        torch.cuda.set_device(self.place)
        self.device = device or current(index)
        self.late = 0  # repetitions that were dropped
        self._flush = torch.empty(
            max(256 << 20, 2 * self.device.l2_bytes), dtype=torch.int8, device=self.place
        )

    def times_us(self, calls: Sequence[Call], rounds: int) -> list[list[float]]:
        times: list[list[float]] = [[] for _ in calls]
        late: list[list[float]] = [[] for _ in calls]
        for attempt in range(1 + AGAIN):
            missing = [index for index, found in enumerate(times) if len(found) < rounds]
            if not missing:
                break
            turns = rounds - min(len(times[index]) for index in missing)
            for index, was_late, time_us in self._repetitions(
                [(index, calls[index]) for index in missing], turns, ahead=attempt > 0
            ):
                (late if was_late else times)[index].append(time_us)
        self.late += sum(map(len, late))
        # A host that is always too late: the least disturbed half says more than nothing.
        return [fine or sorted(rest)[: (len(rest) + 1) // 2] for fine, rest in zip(times, late, strict=True)]

    def quality(self) -> Quality:
        late, self.late = self.late, 0
        return Quality(late, sm_clock_mhz(self.place.index))

    def hold(self) -> None:
        for _ in range(HOLD):
            self._flush.zero_()

    def _repetitions(
        self, calls: Sequence[tuple[int, Call]], rounds: int, *, ahead: bool
    ) -> Iterator[tuple[int, bool, float]]:
        """Queue all repetitions; return call, whether its start had passed before it was queued, and microseconds of each.

        `ahead` gives the host a millisecond before each: some calls of torch's take longer to queue than L2 to clear.
        """
        import torch

        def mark() -> Any:
            return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

        queued = []
        for _ in range(LEAD):
            self._flush.zero_()
        for turn in range(rounds):
            for position in _order(len(calls), turn):
                index, call = calls[position]
                start, end = mark(), mark()
                if ahead:
                    self.hold()
                _prepare(call)
                self._flush.zero_()
                start.record()
                call()
                late = start.query()
                end.record()
                _look_at(call)
                queued.append((index, late, start, end))
        torch.cuda.synchronize(self.place)
        return ((index, late, 1e3 * start.elapsed_time(end)) for index, late, start, end in queued)

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
                _prepare(calls[index])
                start = time.perf_counter()
                calls[index]()
                times[index].append(1e6 * (time.perf_counter() - start))
                _look_at(calls[index])
        return times

    def quality(self) -> Quality:
        return Quality()

    def hold(self) -> None:
        pass

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


def timed(measured: Measurement, times: Sequence[float], quality: Quality = Quality()) -> Measurement:  # noqa: B008 (immutable)
    """Return a measurement with the spread of its times, and how they came about; unchanged where there are none."""
    if not times:
        return measured
    median, low, high = spread(times)
    return measured._replace(
        time_us=median, time_us_low=low, time_us_high=high, rounds=len(times), **quality._asdict()
    )


def is_wide(times: Sequence[float]) -> bool:
    """Return whether times differ so much that their median says little: it is worth repeating them."""
    median, low, high = spread(times)
    return high - low > WIDE * median


def rounds_within(budget_us: float, first: Sequence[Sequence[float]], bounds: tuple[int, int]) -> int:
    """Return how many rounds like the first one fit a time box, within bounds."""
    a_round = sum(times[0] + FLUSH_US for times in first)
    return max(bounds[0], min(bounds[1], int(budget_us / a_round)))


def _prepare(call: Call) -> None:
    before = getattr(call, "before", None)
    if before is not None:
        before()


def _look_at(call: Call) -> None:
    after = getattr(call, "after", None)
    if after is not None:
        after()


def _order(count: int, turn: int) -> list[int]:
    """Return the order of a round: A B C, then B C A, so that no call always follows the same one."""
    first = turn % count if count else 0
    return [*range(first, count), *range(first)]
