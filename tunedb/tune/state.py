"""The state of a sweep: which problems wait, run or are done. The one writer of its history and databases."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from tunedb.device import floor_us
from tunedb.problem import Problem
from tunedb.record import Choice, Tried
from tunedb.store.rows import RowError, from_result, to_result
from tunedb.tune.answers import Answers
from tunedb.tune.claims import Claims
from tunedb.tune.journal import STALE_S, History, State, study_name
from tunedb.tune.messages import Finished, Job
from tunedb.tune.owner import owner
from tunedb.tune.ownership import TakenOver
from tunedb.tune.progress import Progress
from tunedb.tune.schedule import STAGES, schedule_for
from tunedb.tune.settings import Settings
from tunedb.tune.space import searched
from tunedb.tune.summary import Layer, Summary
from tunedb.tune.workers import resolve

__all__ = ["SweepState"]


class SweepState:
    """The state of every problem of a sweep. Open it as a context manager."""

    def __init__(
        self,
        labels: Mapping[Problem, str],
        settings: Settings,
        progress: Progress,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.labels = labels
        self._settings = settings
        self._progress = progress
        self._kernels = resolve(settings.parts.kernels)
        self._began = time.monotonic()
        self._since = time.time()
        self._history = History(settings.storage, stopped)
        self._answers = Answers(settings, self._kernels)
        self._schedule = schedule_for(labels, settings)
        self._claims = Claims(owner(), self._lost)
        self._states = dict.fromkeys(labels, "waiting")
        self._recommended: dict[Problem, list[Choice]] = {}
        self._trials: Counter[Problem] = Counter()  # of each answer, in all
        self._aten_us: dict[Problem, float | None] = {}  # of those that were looked at
        self._causes: dict[Problem, str] = {}
        self._bugs: dict[Problem, str] = {}
        self._ended: Counter[Problem] = Counter()
        self._failures: Counter[str] = Counter()
        self._count = 0

    def __enter__(self) -> Self:
        unusable = self._answers.learn(self._history)
        if unusable:
            self._progress.note(f"Some results of earlier sweeps give no hints: {unusable}")
        settings = self._settings
        # No state among them: a sweep that begins must not undo another one's claim.
        facts = {"device": settings.device.slug, "provenance": settings.provenance}
        for problem, label in self.labels.items():
            space = searched(
                problem, settings.device, self._kernels, measured=settings.provenance != "predicted"
            )
            name = study_name(space, settings.provenance, self._kernels, settings.parts.predictor)
            past = self._history.past(name, {**facts, "label": label, "problem": problem._asdict()})
            self._claims.add(problem, space, past)
        self._progress.begin(len(self.labels), 0, None if settings.minutes else settings.trials_each)
        for problem in self.labels:
            if settings.minutes is not None:
                self._ask_databases(problem)
            self._recall(problem, self._claims.past(problem).state)
        self._judge()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()

    @property
    def settled(self) -> bool:
        """Whether nothing is waiting or under way, here or in another sweep."""
        return not {"waiting", "running"} & set(self._states.values())

    def ended(self, problem: Problem) -> int:
        """Return how many trials a problem has, those of earlier sweeps included."""
        return self._ended[problem]

    def take(self) -> Job | None:
        """Claim what is worth most and nobody else works on; None where there is nothing at present."""
        while task := self._schedule.next(self._waiting()):
            problem, trials = task
            past = self._claims.past(problem)
            state = past.state
            if state.answers(trials) or (not trials and past.looked is not None):
                self._recall(problem, state)  # another sweep was faster
                self._judge()
            elif state.name in ("failed", "timed out") and state.since > self._since:
                self._failed(None, problem, state.name, state.cause)  # it failed elsewhere a moment ago
            elif not self._claims.claim(problem, state, trials):
                self._states[problem] = "running"  # elsewhere
            else:
                self._states[problem] = "running"
                tried = past.tried()
                self._ended[problem] = len(tried)
                hints = [*self._answers.proxied(problem), *self._recommended.get(problem, ())]
                kin = self._answers.kin(problem)
                return Job(problem, trials, tried, hints, ahead=STAGES[0], kin=kin)
        return None

    def asked(self, problem: Problem) -> int:
        """Return how many trials in all a problem under way was claimed for; 0 for a look."""
        return self._claims.asked(problem)

    def open_us(self, problem: Problem) -> float | None:
        """Return what a problem can still win in a forward pass, in microseconds, where the sweep goes by gain."""
        return self._schedule.open_us(problem)

    def append(self, problem: Problem, tried: Tried, seconds: float = 0.0) -> bool:
        """Write a trial that has just ended and took so long. Returns False where another sweep has the problem."""
        if not self._claims.append(problem, tried, seconds):
            return False
        self._ended[problem] += 1
        self._count += 1
        if tried.measurement.status != "ok":
            self._failures[tried.measurement.status] += 1
        return True

    def look(self, slot: int, problem: Problem, aten_us: float | None, seconds: float | None = None) -> None:
        """Write what torch takes: the problem goes on waiting, or is left."""
        if not self._claims.look(problem, aten_us):
            return
        self._states[problem] = "waiting"
        self._aten_us[problem] = aten_us
        self._schedule.looked(problem, aten_us, seconds)
        self._progress.looked(slot, self.labels[problem], aten_us)
        self._judge()

    def finish(self, slot: int, final: Finished, seconds: float | None = None) -> None:
        """Choose the winner and write its record to the databases, then to the history."""
        problem = final.problem
        if not self._claims.check(problem):
            self.hand_back(problem)
            return
        found = self._answers.record(final)
        if found is None:
            self.fail(
                slot,
                problem,
                "failed",
                "no config could be compiled, and torch's own kernel has no predicted time",
            )
            return
        record, top = found
        for name in self._answers.put(record, top):
            self._progress.note(
                f"{self.labels[problem]}: {name} keeps its better record; the {record.provenance} one is in the history."
            )
        trials = self._claims.asked(problem) if final.complete else final.trials
        new = final.trials - min(self._claims.had(problem), final.trials)
        if not self._claims.finish(problem, "done", trials=trials, result=to_result(record, top)):
            return
        self._trials[problem] = trials
        self._states[problem] = "waiting"
        self._schedule.answered(problem, record, trials, new, seconds)
        self._judge()
        self._progress.finished(slot, self.labels[problem], record, self._states[problem] != "waiting")

    def fail(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        """Write that a problem has no answer, and why; a traceback is kept whole."""
        if self._claims.finish(problem, state, cause=bug or cause):
            self._failed(slot, problem, state, cause, bug)
            self._judge()

    def hand_back(self, problem: Problem) -> None:
        """Let a problem wait again: its driver was lost, or the sweep ends."""
        if self._claims.hand_back(problem):
            self._states[problem] = "waiting"
            self._judge()

    def give_up(self, cause: str) -> None:
        """Fail all that waits."""
        for problem in self._waiting():
            self._failed(None, problem, "failed", cause)

    def heartbeat(self, problems: Iterable[Problem]) -> list[Problem]:
        """Show other sweeps that these problems are being worked on. Returns those that another sweep has taken over."""
        return self._claims.heartbeat(problems)

    def look_elsewhere(self) -> None:
        """See what became of problems that another sweep has; those of a dead one wait again."""
        now = time.time()
        for problem, state in list(self._states.items()):
            if state != "running" or self._claims.holds(problem):
                continue
            theirs = self._claims.past(problem).state
            if theirs.name in ("failed", "timed out"):
                self._failed(None, problem, theirs.name, theirs.cause)
            elif theirs.free(now):
                self._states[problem] = "waiting"
                self._recall(problem, theirs)
        self._judge()

    def summary(self, *, gpus: int, ended: str) -> Summary:
        """Return what the sweep has come to so far."""
        seconds = time.monotonic() - self._began
        records = self._answers.records
        states = {
            problem: "done" if state == "waiting" and problem in records else state
            for problem, state in self._states.items()
        }
        layers = {
            problem: Layer(
                self.labels[problem],
                (self._settings.calls or {}).get(problem, 1),
                record.aten_us if (record := records.get(problem)) else self._aten_us.get(problem),
                record.time_us if record else None,
                floor_us(problem, self._settings.device),
                self._trials[problem],
                state,
                self._schedule.verdict(problem).why,
            )
            for problem, state in states.items()
        }
        return Summary(
            {problem: records[problem] for problem in self.labels if problem in records},
            states, self._causes, self._bugs, self.labels,
            self._count, self._failures, seconds, gpus, ended,
            layers, self._settings.minutes is not None,
        )  # fmt: skip

    def _waiting(self) -> list[Problem]:
        return [problem for problem, state in self._states.items() if state == "waiting"]

    def _judge(self) -> None:
        """Note which of the waiting problems are done or left by what is known now."""
        for problem in self._waiting():
            self._states[problem] = self._schedule.verdict(problem).state
        self._progress.stand(self._schedule.standing())

    def _ask_databases(self, problem: Problem) -> None:
        aten_us, self._recommended[problem] = self._answers.recommended(problem)
        if aten_us is not None:
            self._schedule.guessed(problem, aten_us)

    def _recall(self, problem: Problem, state: State) -> None:
        """Take over what the history knows of a problem that nobody works on, if it says something here."""
        past = self._claims.past(problem)
        aten_us = past.looked
        if aten_us is not None:
            self._aten_us[problem] = aten_us
            self._schedule.looked(problem, aten_us)
        collect = (
            self._settings.collect
        )  # then an answer counts whoever goes on with it, and of however many trials
        if state.name == "running" and not state.free(time.time()) and not collect:
            return
        if past.result is not None and state.trials and (collect or self._schedule.counts(state.trials)):
            self._restore(problem, state.trials)

    def _restore(self, problem: Problem, trials: int) -> None:
        """Take an answer from the history, and give it to the databases that lack it."""
        past = self._claims.past(problem)
        result = past.result
        assert result is not None, "an answer has a result"
        try:
            record, top = from_result(result)
        except RowError as error:
            self._progress.note(f"{self.labels[problem]}: it is searched again, because {error}")
            with contextlib.suppress(TakenOver):  # another sweep has begun to
                past.finish("waiting")
            return
        self._answers.restore(record, top)
        self._trials[problem] = trials
        self._schedule.answered(problem, record, trials)
        done = self._schedule.verdict(problem).state != "waiting"
        self._progress.finished(None, self.labels[problem], record, done)

    def _lost(self, problem: Problem) -> None:
        self._progress.note(
            f"{self.labels[problem]}: another sweep has taken it over, because this one gave no sign of life for {STALE_S:.0f} s."
        )

    def _failed(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        self._states[problem] = state
        self._causes[problem] = cause
        if bug:
            self._bugs[problem] = bug
        self._schedule.failed(problem)
        self._progress.failed(slot, self.labels[problem], state, cause)
