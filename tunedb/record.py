"""The stored answer, and the measurement it rests on."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tunedb.problem import Problem

__all__ = ["PROVENANCES", "STATUSES", "Choice", "Measurement", "Record", "Tried", "tied"]

# measured on that device, proxy on another device, predicted by the model
PROVENANCES = ("measured", "proxy", "predicted")

# What a trial came to. Only "ok" may win; the others are counted aloud by cause.
STATUSES = (
    "ok",
    "wrong",  # its result fails the error contract
    "invalid",  # not compiled: `valid` says why
    "compile-error",
    "out-of-resources",  # more shared memory, registers or threads than the device has
    "spilled",  # so many registers in local memory that it cannot win
    "crashed",  # the GPU process died or its context is poisoned
    "timed-out",
)


class Measurement(NamedTuple):
    """What a trial gave. Times are GPU microseconds (median, 20th and 80th percentile), bytes for `shared`."""

    status: str
    time_us: float | None = None
    time_us_low: float | None = None
    time_us_high: float | None = None
    error: float | None = None  # ||out - ref|| / ||ref|| against float64
    shared: int | None = None  # bytes of shared memory a block
    registers: int | None = None  # a thread
    spills: int | None = None  # bytes of local memory a thread
    detail: str = ""  # why it failed, in a line
    # How far the time may be trusted.
    rounds: int | None = None  # repetitions that it is the median of
    late: int | None = None  # repetitions that were dropped, because the GPU had to wait for the host
    clock_mhz: int | None = None  # of the multiprocessors, when they were over


class Choice(NamedTuple):
    """A kernel and one of its configs, as JSON text: what is compiled, timed and stored."""

    kernel: str
    config: str


class Tried(NamedTuple):
    """A choice that was tried, with what the trial gave."""

    kernel: str
    config: str  # JSON text
    measurement: Measurement

    @property
    def choice(self) -> Choice:
        return Choice(self.kernel, self.config)


# However wide the spread, a config that is slower by more than this does not count as tied.
_TIE_LIMIT = 1.03


def tied(tries: Sequence[Tried]) -> list[Tried]:
    """Return those that cannot be told from the fastest: its median lies above their 20th percentile. In the given order."""
    times = [tried.measurement.time_us for tried in tries if tried.measurement.status == "ok"]
    fastest = min((time for time in times if time is not None), default=math.inf)

    def ties(measurement: Measurement) -> bool:
        time, low = measurement.time_us, measurement.time_us_low
        if measurement.status != "ok" or time is None:
            return False
        return time == fastest or (low is not None and low <= fastest and time <= fastest * _TIE_LIMIT)

    return [tried for tried in tries if ties(tried.measurement)]


class Record(NamedTuple):
    """The answer for a problem on a device, with everything needed to trust or distrust it.

    `config` is the kernel's own NamedTuple as JSON text. Times are GPU microseconds; `time_us` and
    `aten_us` come from the same run. For a `predicted` record they are the model's, and `error`,
    `aten_us` and `aten_error` are None. `tuned_at` is UTC in ISO 8601.
    """

    problem: Problem
    device: str
    kernel: str
    config: str
    time_us: float
    time_us_low: float | None
    time_us_high: float | None
    aten_us: float | None
    floor_us: float
    error: float | None
    aten_error: float | None
    provenance: str
    trials: int
    kernel_hash: str
    triton: str
    torch: str
    cudnn: str
    driver: str
    tuned_at: str

    def row(self) -> dict[str, Any]:
        """Return the columns of the view `winners`."""
        return {
            "device": self.device,
            **self.problem._asdict(),
            **dict(zip(self._fields[2:], self[2:], strict=True)),
        }
