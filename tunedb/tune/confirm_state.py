"""The state of a confirmation: which problems wait, run or are confirmed. The one writer of its database."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunedb.errors import TunedbError
from tunedb.kernel import config_from_json
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.tune.answers import Answers
from tunedb.tune.choose_winner import ATEN
from tunedb.tune.confirmed import Outcome
from tunedb.tune.messages import Finished, Job
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.stored import Stored
from tunedb.tune.summary import Summary
from tunedb.tune.workers import resolve

__all__ = ["ConfirmState"]


class ConfirmState:
    """What a coordinator works through: the problems of `todo` in their order. Attributes: labels, outcomes. Close it."""

    def __init__(
        self, todo: Sequence[Stored], labels: Mapping[Problem, str], settings: Settings, progress: Progress
    ) -> None:
        """Open the database. Raises DatabaseError: where that fails."""
        self.labels = labels
        self.outcomes: list[Outcome] = []
        self._todo = {one.problem: one for one in todo}
        self._settings = settings
        self._progress = progress
        self._kernels = resolve(settings.parts.kernels)
        self._answers = Answers(settings, self._kernels)
        self._answers.lean(one.record for one in todo)
        self._states = dict.fromkeys(self._todo, "waiting")
        self._causes: dict[Problem, str] = {}
        self._bugs: dict[Problem, str] = {}
        self._refused: dict[Problem, list[Tried]] = {}  # before the final pass
        self._count = 0
        self._failures: Counter[str] = Counter()
        self._began = time.monotonic()

    def close(self) -> None:
        self._answers.close()

    @property
    def settled(self) -> bool:
        """Whether nothing is waiting or under way."""
        return not {"waiting", "running"} & set(self._states.values())

    def take(self) -> Job | None:
        """Return the first of what waits, with the candidates that are still valid."""
        problem = next((one for one, state in self._states.items() if state == "waiting"), None)
        if problem is None:
            return None
        self._states[problem] = "running"
        self._refused[problem] = []
        named = []
        for choice in self._todo[problem].choices:
            if reason := self._invalid(problem, choice):
                self.append(problem, Tried(*choice, Measurement("invalid", detail=reason)))
            else:
                named.append(choice)
        return Job(problem, 0, (), (), named=named)

    def ended(self, problem: Problem) -> int:
        """Return how many candidates were refused before any was compiled."""
        return len(self._refused[problem])

    def asked(self, problem: Problem) -> int:
        return len(self._todo[problem].choices)

    def open_us(self, problem: Problem) -> None:
        """Return None: nothing is searched."""

    def append(self, problem: Problem, tried: Tried, seconds: float = 0.0) -> bool:  # noqa: ARG002 (as a sweep's)
        """Count a candidate that was compiled or refused."""
        self._count += 1
        if tried.measurement.status != "ok":
            self._refused[problem].append(tried)
            self._failures[tried.measurement.status] += 1
        return True

    def look(self, slot: int, problem: Problem, aten_us: float | None, seconds: float | None = None) -> None:
        """Do nothing: no job of a confirmation is a look."""

    def finish(self, slot: int, final: Finished, seconds: float | None = None) -> None:  # noqa: ARG002 (as a sweep's)
        """Choose the winner and write its record."""
        problem, known = final.problem, self._todo[final.problem]
        failed = [one for one in final.finalists if one.measurement.status != "ok"]
        self._failures.update(one.measurement.status for one in failed)
        # Those that did not compile are stored too: after the next upgrade they may.
        finalists = [*final.finalists, *self._refused[problem]]
        found = self._answers.record(final._replace(trials=known.trials, finalists=finalists))
        if found is None:
            self.fail(slot, problem, "failed", "neither torch's own kernel nor a candidate could be timed")
            return
        record, top = found
        self._answers.put(record, top)
        self._states[problem] = "done"
        again = _time_of(known.record, final)
        self.outcomes.append(
            Outcome(problem, known.record, record, again, [*self._refused[problem], *failed])
        )
        self._progress.finished(slot, self.labels[problem], record)

    def fail(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        """Note that a problem could not be confirmed, and why; its stored record stays as it is."""
        self._states[problem] = state
        self._causes[problem] = cause
        if bug:
            self._bugs[problem] = bug
        self._progress.failed(slot, self.labels[problem], state, cause)

    def hand_back(self, problem: Problem) -> None:
        """Let a problem wait again: its driver was lost, or the time is up."""
        if self._states[problem] == "running":
            self._states[problem] = "waiting"

    def give_up(self, cause: str) -> None:
        """Fail all that waits."""
        for problem in [one for one, state in self._states.items() if state == "waiting"]:
            self.fail(None, problem, "failed", cause)

    def heartbeat(self, problems: Iterable[Problem]) -> Sequence[Problem]:  # noqa: ARG002 (as a sweep's)
        """Return nothing: no other run takes a problem over."""
        return ()

    def look_elsewhere(self) -> None:
        """Do nothing: no other run is known of."""

    def summary(self, *, gpus: int, ended: str) -> Summary:
        """Return what has come of it so far."""
        seconds = time.monotonic() - self._began
        return Summary(
            {one.problem: one.record for one in self.outcomes},
            self._states, self._causes, self._bugs, self.labels,
            self._count, self._failures, seconds, gpus, ended,
        )  # fmt: skip

    def _invalid(self, problem: Problem, choice: Choice) -> str:
        """Return why a stored candidate cannot be compiled from today's code; an empty text where it can."""
        if choice.kernel not in self._kernels.names():
            return f"no kernel named {choice.kernel} is installed"
        try:
            kernel: Any = self._kernels.load(choice.kernel)
            config = config_from_json(kernel, choice.config)
            return str(kernel.valid(problem, config, self._settings.device))
        except TunedbError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 (a wrong kernel costs its candidates, not the run)
            return f"{type(error).__name__}: {error}"


def _time_of(stored: Record, final: Finished) -> float | None:
    """Return what the stored answer takes in a final pass, in microseconds; None where it was refused."""
    choice = Choice(stored.kernel, stored.config)
    found: Iterator[Measurement | None] = (
        iter([final.aten])
        if stored.kernel == ATEN.kernel
        else (one.measurement for one in final.finalists if one.choice == choice)
    )
    measured = next(found, None)
    return measured.time_us if measured is not None and measured.status == "ok" else None
