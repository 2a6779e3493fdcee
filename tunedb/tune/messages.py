"""What the coordinator of a sweep and its driver processes tell each other."""

from collections.abc import Sequence
from typing import NamedTuple

from tunedb.device import Device
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Tried
from tunedb.tune.gpu_process import Limits
from tunedb.tune.settings import Settings
from tunedb.tune.workers import Parts

__all__ = ["Baseline", "Began", "Ended", "Failed", "Finished", "Job", "Kept", "Setup", "Want"]


class Setup(NamedTuple):
    """What a driver needs to know once; `gpu` is None where times are predicted."""

    gpu: int | None
    workers: int  # compile processes
    settings: Settings

    @property
    def device(self) -> Device:
        return self.settings.device

    @property
    def parts(self) -> Parts:
        return self.settings.parts

    @property
    def limits(self) -> Limits:
        return self.settings.limits


class Job(NamedTuple):
    """One problem to search. `past` are its trials of earlier sweeps, which count."""

    problem: Problem
    trials: int
    past: Sequence[Tried]
    hints: Sequence[Choice]


class Kept(NamedTuple):
    """The coordinator has written an Ended to the history."""


class Want(NamedTuple):
    """The driver has room for one more job."""


class Began(NamedTuple):
    problem: Problem


class Baseline(NamedTuple):
    problem: Problem
    aten_us: float | None


class Ended(NamedTuple):
    problem: Problem
    tried: Tried


class Finished(NamedTuple):
    """The final pass is over; `aten` and the finalists come from the same run."""

    problem: Problem
    trials: int
    finalists: Sequence[Tried]
    aten: Measurement | None
    aten_us: float | None
    aten_error: float | None
    environment: dict[str, str]


class Failed(NamedTuple):
    """The problem ended without an answer; `bug` is a traceback where the code is to blame, not the GPU."""

    problem: Problem
    state: str
    cause: str
    bug: str = ""
