"""The problems that a sweep has claimed, and what it writes of them: nothing any more once another sweep has them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from tunedb.problem import Problem
from tunedb.record import Tried
from tunedb.tune.journal import Past, State
from tunedb.tune.ownership import TakenOver
from tunedb.tune.space import Space

__all__ = ["Claims"]


class _Claim(NamedTuple):
    before: State
    trials: int  # asked for, in all; 0 for a look


class Claims:
    """Which problems this sweep works on. What it writes of one returns False where another sweep has taken that over.

    Such a problem is lost: it belongs to others as soon as the driver that works on it has let go of it, which `finish`,
    `look` and `hand_back` say. `lost` is called once for each.
    """

    def __init__(self, owner: str, lost: Callable[[Problem], None]) -> None:
        self._owner = owner
        self._tell = lost
        self._spaces: dict[Problem, Space] = {}
        self._pasts: dict[Problem, Past] = {}
        self._claimed: dict[Problem, _Claim] = {}
        self._lost: set[Problem] = set()

    def add(self, problem: Problem, space: Space, past: Past) -> None:
        """Know where a problem's trials go."""
        self._spaces[problem], self._pasts[problem] = space, past

    def past(self, problem: Problem) -> Past:
        return self._pasts[problem]

    def claim(self, problem: Problem, before: State, trials: int) -> bool:
        """Take a problem whose state was `before`, unless somebody else has it."""
        if not self._pasts[problem].claim(self._owner, trials):
            return False
        self._claimed[problem] = _Claim(before, trials)
        return True

    def holds(self, problem: Problem) -> bool:
        """Whether it was claimed here and a driver may still work on it."""
        return problem in self._claimed or problem in self._lost

    def asked(self, problem: Problem) -> int:
        """Return how many trials in all a problem was claimed for; 0 for a look, or once it is lost."""
        return self._claimed[problem].trials if problem in self._claimed else 0

    def had(self, problem: Problem) -> int:
        """Return of how many trials the answer is that a problem had before; 0 for none, or once it is lost."""
        return self._claimed[problem].before.trials if problem in self._claimed else 0

    def append(self, problem: Problem, tried: Tried, seconds: float) -> bool:
        """Write a trial that has just ended and took so long."""
        write = partial(self._pasts[problem].append, tried, self._spaces[problem], seconds)
        return self._written(problem, write)

    def check(self, problem: Problem) -> bool:
        """Return whether a problem is still this sweep's."""
        return self._written(problem, self._pasts[problem].check)

    def look(self, problem: Problem, aten_us: float | None) -> bool:
        """Write what torch takes, and give the problem back."""
        if aten_us is not None:
            self._written(problem, partial(self._pasts[problem].look, aten_us))
        return self.hand_back(problem)

    def finish(
        self,
        problem: Problem,
        name: str,
        *,
        cause: str = "",
        trials: int = 0,
        result: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write how a problem ended. It is no longer claimed then."""
        write = partial(self._pasts[problem].finish, name, cause=cause, trials=trials, result=result)
        written = self._written(problem, write)
        self._claimed.pop(problem, None)
        self._lost.discard(problem)
        return written

    def hand_back(self, problem: Problem) -> bool:
        """Let a problem wait again, with the answer that it had."""
        trials = self.had(problem)
        return self.finish(problem, "done" if trials else "waiting", trials=trials)

    def heartbeat(self, problems: Iterable[Problem]) -> list[Problem]:
        """Show other sweeps that these problems are worked on. Returns those that are lost."""
        return [
            problem
            for problem in problems
            if not self._written(problem, partial(self._pasts[problem].heartbeat, self.had(problem)))
        ]

    def _written(self, problem: Problem, write: Callable[[], None]) -> bool:
        if problem in self._lost:
            return False
        try:
            write()
        except TakenOver:
            self._claimed.pop(problem, None)
            self._lost.add(problem)
            self._tell(problem)
            return False
        return True
