"""What a coordinator has done: a search, or a confirmation, as it sees them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from tunedb.problem import Problem
from tunedb.record import Tried
from tunedb.tune import messages
from tunedb.tune.summary import Summary

__all__ = ["Work"]


class Work(Protocol):
    """What there is to do, problem by problem, and what becomes of it: the search of a sweep, or a confirmation."""

    @property
    def labels(self) -> Mapping[Problem, str]:
        """Names for people."""

    @property
    def settled(self) -> bool:
        """Whether nothing is waiting or under way."""

    def take(self) -> messages.Job | None:
        """Return what comes next; None where there is nothing at present."""

    def ended(self, problem: Problem) -> int:
        """Return how many trials a problem has already."""

    def asked(self, problem: Problem) -> int:
        """Return how many trials in all a problem under way is to have."""

    def open_us(self, problem: Problem) -> float | None:
        """Return what a problem can still win in a forward pass, in microseconds, where that is known."""

    def append(self, problem: Problem, tried: Tried, seconds: float) -> bool:
        """Keep a trial that has ended. Returns False where the problem has been lost."""

    def look(self, slot: int, problem: Problem, aten_us: float | None, seconds: float | None) -> None:
        """Keep what torch takes."""

    def finish(self, slot: int, final: messages.Finished, seconds: float | None) -> None:
        """Keep the answer of a final pass."""

    def fail(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        """Keep that a problem has no answer, and why."""

    def hand_back(self, problem: Problem) -> None:
        """Let a problem wait again."""

    def give_up(self, cause: str) -> None:
        """Fail all that waits."""

    def heartbeat(self, problems: Iterable[Problem]) -> Sequence[Problem]:
        """Show that these problems are worked on. Returns those that have been lost."""

    def look_elsewhere(self) -> None:
        """See what became of problems that others work on."""

    def summary(self, *, gpus: int, ended: str) -> Summary:
        """Return what has come of it so far."""
