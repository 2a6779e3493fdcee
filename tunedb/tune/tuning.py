"""One problem that a driver works on: its search, and what its compilations came to."""

import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

from tunedb.record import Choice, Measurement
from tunedb.tune.messages import Job, Setup
from tunedb.tune.promising import begun
from tunedb.tune.shortlist import Shortlist
from tunedb.tune.space import searched

if TYPE_CHECKING:
    from tunedb.tune.search import Search

__all__ = ["Tuning"]


class Tuning:
    """One problem being tuned: its search, and the compilations that ended and whose outcome the search has not seen yet."""

    def __init__(self, job: Job, setup: Setup, kernels: Any, spare: int = 0) -> None:
        self.problem = job.problem
        self.past = len(job.past)
        self.named = job.named is not None
        # Only torch is timed, so that the next job is wanted at once.
        self.look = not (job.trials or self.named)
        self.ready: deque[tuple[Choice, Measurement]] = deque()
        self.dry = self.look  # the search had no further choice when it was last asked
        self.bug = ""
        self.dropped = False  # another sweep has the problem
        self.compile_s: dict[Choice, float] = {}  # what each choice took, until its trial ends
        # Without a GPU the search sees outcomes in the order in which it asked, so that it is the same on every machine.
        self._in_order = setup.gpu is None
        self._asked: deque[Choice] = deque()
        self._early: dict[Choice, Measurement] = {}  # compiled before one that was asked earlier
        if job.named is not None:
            self.search: Search | Shortlist = Shortlist(job.named)
            return
        try:
            space = searched(job.problem, setup.device, kernels, measured=setup.gpu is not None)
            self.search = begun(space, job.trials or job.ahead, job.hints, job.kin, job.past, spare)
        except Exception:  # noqa: BLE001 (a wrong kernel fails its problems, not the sweep)
            self.bug = traceback.format_exc()
            self.dry = True

    def ask(self, limit: int) -> Choice | None:
        """Return the next choice to compile. One that depends on earlier results is given only while fewer than `limit` are in flight."""
        if self.bug or self.dropped or (not self.search.seeded and self.search.pending >= limit):
            return None
        choice = self.search.ask()
        self.dry = self.look or choice is None
        if choice is not None and self._in_order:
            self._asked.append(choice)
        return choice

    def compiled(self, choice: Choice, outcome: Measurement) -> None:
        """Take what came of a compilation. One that failed is seen next: seen during a trial, it could make that trial one too many."""
        if not self._in_order:
            (self.ready.append if outcome.status == "ok" else self.ready.appendleft)((choice, outcome))
            return
        self._early[choice] = outcome
        while self._asked and self._asked[0] in self._early:
            first = self._asked.popleft()
            self.ready.append((first, self._early.pop(first)))

    def has_news(self) -> bool:
        """Return whether a trial of this job, not of an earlier one, came to a time. A part of a shortlist is no news."""
        new = [] if self.named else self.search.tried[self.past :]
        return any(tried.measurement.status == "ok" for tried in new)
