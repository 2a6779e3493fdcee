"""What the coordinator of a sweep and its driver processes tell each other."""

from collections.abc import Sequence
from typing import NamedTuple

from tunedb.device import Device
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Tried
from tunedb.tune.gpu_process import Limits
from tunedb.tune.settings import Settings
from tunedb.tune.workers import Parts

__all__ = [
    "Baseline",
    "Began",
    "Drop",
    "Dropped",
    "End",
    "Ended",
    "Failed",
    "Finished",
    "Job",
    "Kept",
    "Looked",
    "Setup",
    "Want",
]


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
    """One problem to search. `past` are its trials of earlier searches, which count.

    With 0 trials torch is timed and nothing else; meanwhile the compilers begin with what a search of `ahead` trials
    would try first. Where choices are named there is no search: those that compile go to the final pass as they are, which
    verifies and times them, and `trials` is not used.
    """

    problem: Problem
    trials: int  # in all
    past: Sequence[Tried]
    hints: Sequence[Choice]  # what databases hold of it
    ahead: int = 0
    named: Sequence[Choice] | None = None
    kin: Sequence[Choice] = ()  # winners of similar problems


class Kept(NamedTuple):
    """The coordinator has written an Ended to the history, or has lost its problem."""


class End(NamedTuple):
    """The time is up: end the search under way with its final pass, and begin nothing more."""


class Want(NamedTuple):
    """The driver has room for one more job."""


class Drop(NamedTuple):
    """Another sweep has the problem: let go of it, and say Dropped."""

    problem: Problem


class Began(NamedTuple):
    problem: Problem


class Baseline(NamedTuple):
    problem: Problem
    aten_us: float | None


class Ended(NamedTuple):
    problem: Problem
    tried: Tried
    seconds: float = 0.0  # to compile and to time it


class Looked(NamedTuple):
    """A job of 0 trials is over."""

    problem: Problem
    aten_us: float | None


class Dropped(NamedTuple):
    """The job ends without an answer, because the time was up or another sweep has the problem; its trials are kept."""

    problem: Problem


class Finished(NamedTuple):
    """The final pass is over; `aten` and the finalists come from the same run."""

    problem: Problem
    trials: int
    finalists: Sequence[Tried]
    aten: Measurement | None
    aten_us: float | None
    aten_error: float | None
    environment: dict[str, str]
    complete: bool = True  # as many trials as were asked for, or all that there are


class Failed(NamedTuple):
    """The problem ended without an answer; `bug` is a traceback where the code is to blame, not the GPU."""

    problem: Problem
    state: str
    cause: str
    bug: str = ""
