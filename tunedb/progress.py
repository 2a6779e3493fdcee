"""What a person sees of a sweep while it runs."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tunedb.record import Record

__all__ = ["Progress", "Summary"]


class Summary(NamedTuple):
    """What a sweep came to."""

    records: Mapping[str, Record]  # label: the record written, or restored from the history
    problems: Mapping[str, str]  # every label: done, failed, timed out, running (elsewhere) or waiting
    causes: Mapping[str, str]  # label of a failed or timed-out problem: why
    trials: int  # of this run, not of earlier ones
    failures: Counter[str]  # status: trials of this run that came to it
    seconds: float
    gpus: int
    ended: str  # "", or why it stopped early: "interrupted", "time limit"

    @property
    def complete(self) -> bool:
        """Whether every problem has its answer."""
        return all(state == "done" for state in self.problems.values())

    @property
    def trials_per_second(self) -> float:
        """Trials a second a GPU, compilation and verification included."""
        return self.trials / max(self.seconds, 1e-9) / max(self.gpus, 1)


class Progress:
    """Shows nothing; a subclass shows what it is told."""
