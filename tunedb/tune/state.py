"""The state of a sweep: which problems wait, run or are done. The one writer of its history and databases."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from tunedb.device import floor_us
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.store.read import Database
from tunedb.store.rows import RowError, from_result, to_result
from tunedb.store.write import Store
from tunedb.tune.choose_winner import ATEN, winner, without_aten
from tunedb.tune.journal import History, Past, owner, study_name
from tunedb.tune.messages import Finished, Job
from tunedb.tune.progress import Progress, Summary
from tunedb.tune.settings import Settings
from tunedb.tune.space import Space, searched
from tunedb.tune.warm_start import nearest
from tunedb.tune.workers import resolve

__all__ = ["SweepState"]

_DETAIL = 200  # characters of a finalist's detail that the database keeps


class _Entry(NamedTuple):
    space: Space
    past: Past


class SweepState:
    """The state of every problem of a sweep. Open it as a context manager."""

    def __init__(
        self,
        labels: Mapping[Problem, str],
        settings: Settings,
        progress: Progress,
    ) -> None:
        self.labels = labels
        self._predictor = settings.parts.predictor
        self._device = settings.device
        self._provenance = settings.provenance
        self._trials = settings.trials
        self._progress = progress
        self._kernels = resolve(settings.parts.kernels)
        self._began = time.monotonic()
        self._since = time.time()
        self._owner = owner()
        self._history = History(settings.storage)
        self._store = Store(settings.db)
        self._triton_store = None if settings.triton_db is None else Store(settings.triton_db)
        self._entries: dict[Problem, _Entry] = {}
        self._states = dict.fromkeys(labels, "waiting")
        self._queue: list[Problem] = []
        self._records: dict[Problem, Record] = {}
        self._causes: dict[Problem, str] = {}
        self._bugs: dict[Problem, str] = {}
        self._winners: dict[Problem, Choice] = {}
        self._wins: Counter[tuple[str, Choice]] = Counter()
        self._ended: Counter[Problem] = Counter()
        self._failures: Counter[str] = Counter()
        self._count = 0

    def __enter__(self) -> Self:
        self._learn()
        measured = self._provenance != "predicted"
        facts = {"device": self._device.slug, "provenance": self._provenance}
        restored = []
        for problem, label in self.labels.items():
            space = searched(problem, self._device, self._kernels, measured=measured)
            name = study_name(space, self._provenance, self._kernels, self._predictor)
            past = self._history.past(
                name, {**facts, "label": label, "problem": problem._asdict(), "state": {"name": "waiting"}}
            )
            self._entries[problem] = _Entry(space, past)
            if past.state.answers(self._trials):
                restored.append(problem)
        self._progress.begin(len(self.labels), 0, self._trials)
        for problem in restored:
            self._restore(problem)
        # Long ones first, so that all GPUs end at about the same time.
        self._queue = sorted(
            (problem for problem, state in self._states.items() if state == "waiting"),
            key=lambda problem: -floor_us(problem, self._device),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()
        if self._triton_store is not None:
            self._triton_store.close()

    @property
    def settled(self) -> bool:
        """Whether nothing is waiting or under way, here or in another sweep."""
        return not {"waiting", "running"} & set(self._states.values())

    def ended(self, problem: Problem) -> int:
        """Return how many trials a problem has, those of earlier sweeps included."""
        return self._ended[problem]

    def take(self) -> Job | None:
        """Claim the next problem that nobody else works on; None where there is none at present."""
        while self._queue:
            problem = self._queue.pop(0)
            past = self._entries[problem].past
            state = past.state
            if state.answers(self._trials):
                self._restore(problem)  # another sweep was faster
            elif state.name in ("failed", "timed out") and state.since > self._since:
                self._failed(None, problem, state.name, state.cause)  # it failed elsewhere a moment ago
            elif not past.claim(self._owner, self._trials):
                self._states[problem] = "running"  # elsewhere
            else:
                self._states[problem] = "running"
                tried = past.tried()
                self._ended[problem] = len(tried)
                return Job(problem, self._trials, tried, nearest(problem, self._winners))
        return None

    def append(self, problem: Problem, tried: Tried) -> None:
        """Write a finished trial to the history."""
        entry = self._entries[problem]
        entry.past.append(tried, entry.space)
        self._ended[problem] += 1
        self._count += 1
        if tried.measurement.status != "ok":
            self._failures[tried.measurement.status] += 1

    def finish(self, slot: int, final: Finished) -> None:
        """Choose the winner and write its record to the database, then to the history."""
        problem = final.problem
        best = winner(final.finalists, final.aten, self._wins_of(problem))
        if best is None:
            self.fail(
                slot,
                problem,
                "failed",
                "no config could be compiled, and torch's own kernel has no predicted time",
            )
            return
        record = self._record(final, best)
        best_first = sorted(final.finalists, key=_rank)
        top = [tried._replace(measurement=_stored(tried.measurement)) for tried in best_first]
        for store, answer in self._answers(record, top):
            if not store.put(answer, top):
                self._progress.note(
                    f"{self.labels[problem]}: {store.path.name} keeps its better record; the {record.provenance} one is in the history."
                )
        self._entries[problem].past.finish("done", trials=self._trials, result=to_result(record, top))
        self._know(record)
        self._progress.finished(slot, self.labels[problem], record)

    def fail(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        """Write that a problem has no answer, and why; a traceback is kept whole."""
        self._entries[problem].past.finish(state, cause=bug or cause)
        self._failed(slot, problem, state, cause, bug)

    def hand_back(self, problem: Problem) -> None:
        """Let a problem wait again: its driver was lost, or the sweep ends."""
        self._entries[problem].past.finish("waiting")
        self._states[problem] = "waiting"
        self._queue.insert(0, problem)

    def give_up(self, cause: str) -> None:
        """Fail all that waits."""
        while self._queue:
            self._failed(None, self._queue.pop(0), "failed", cause)

    def heartbeat(self, problems: Iterable[Problem]) -> None:
        """Show other sweeps that these problems are being worked on."""
        for problem in problems:
            self._entries[problem].past.heartbeat(self._owner)

    def look_elsewhere(self) -> None:
        """See what became of problems that another sweep has; those of a dead one wait again."""
        now = time.time()
        for problem, state in self._states.items():
            if state != "running":
                continue
            theirs = self._entries[problem].past.state
            if theirs.owner == self._owner:
                continue
            if theirs.answers(self._trials):
                self._restore(problem)
            elif theirs.name in ("failed", "timed out"):
                self._failed(None, problem, theirs.name, theirs.cause)
            elif theirs.free(now):
                self._states[problem] = "waiting"
                self._queue.append(problem)

    def summary(self, *, gpus: int, ended: str) -> Summary:
        """Return what the sweep has come to so far."""
        seconds = time.monotonic() - self._began
        return Summary(
            {problem: self._records[problem] for problem in self.labels if problem in self._records},
            dict(self._states), self._causes, self._bugs, self.labels,
            self._count, self._failures, seconds, gpus, ended,
        )  # fmt: skip

    def _record(self, final: Finished, best: Tried) -> Record:
        measurement, versions = best.measurement, final.environment
        assert measurement.time_us is not None
        return Record(
            problem=final.problem,
            device=self._device.slug,
            kernel=best.kernel,
            config=best.config,
            time_us=measurement.time_us,
            time_us_low=measurement.time_us_low,
            time_us_high=measurement.time_us_high,
            aten_us=final.aten_us,
            floor_us=floor_us(final.problem, self._device),
            error=final.aten_error if best.choice == ATEN else measurement.error,
            aten_error=final.aten_error,
            provenance=self._provenance,
            trials=final.trials,
            kernel_hash=self._kernels.source_hash(best.kernel),
            **{name: versions.get(name, "") for name in ("triton", "torch", "cudnn", "driver")},
            tuned_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _restore(self, problem: Problem) -> None:
        """Take a done problem's record from the history, and give it to the databases that lack it."""
        result = self._entries[problem].past.result
        assert result is not None, "done problems have a result"
        try:
            record, top = from_result(result)
        except RowError as error:
            self._progress.note(f"{self.labels[problem]}: it is searched again, because {error}")
            self.hand_back(problem)
            return
        for store, answer in self._answers(record, top):
            if Database(store.path).record(problem, record.device) is None:
                store.put(answer, top)
        self._know(record)
        self._progress.finished(None, self.labels[problem], record)

    def _answers(self, record: Record, top: Sequence[Tried]) -> Iterator[tuple[Store, Record]]:
        """Yield each database with its answer: the best, and the best that is not torch's own kernel."""
        yield self._store, record
        if self._triton_store is None:
            return
        wins = self._wins_of(record.problem)
        if own := without_aten(record, top, wins, self._kernels.source_hash):
            yield self._triton_store, own

    def _wins_of(self, problem: Problem) -> dict[Choice, int]:
        """Return how often each choice has won a problem of the same operation."""
        return {choice: count for (op, choice), count in self._wins.items() if op == problem.op}

    def _learn(self) -> None:
        """Use the winners of earlier sweeps as hints, whatever the version of their kernel: they often still win."""
        unusable = ""
        for result in self._history.results(self._device.slug, self._provenance):
            try:
                record, _ = from_result(result)
            except RowError as error:
                unusable = unusable or str(error)
                continue
            if record.kernel != ATEN.kernel:
                self._winners[record.problem] = Choice(record.kernel, record.config)
        if unusable:
            self._progress.note(f"Some results of earlier sweeps give no hints: {unusable}")

    def _know(self, record: Record) -> None:
        self._states[record.problem] = "done"
        self._records[record.problem] = record
        choice = Choice(record.kernel, record.config)
        if choice != ATEN:
            self._winners[record.problem] = choice
        self._wins[(record.problem.op, choice)] += 1

    def _failed(self, slot: int | None, problem: Problem, state: str, cause: str, bug: str = "") -> None:
        self._states[problem] = state
        self._causes[problem] = cause
        if bug:
            self._bugs[problem] = bug
        self._progress.failed(slot, self.labels[problem], state, cause)


def _rank(tried: Tried) -> tuple[bool, float]:
    """Order finalists by the final pass, those that failed it last."""
    return tried.measurement.status != "ok", tried.measurement.time_us or 0.0


def _stored(measurement: Measurement) -> Measurement:
    return measurement._replace(detail=measurement.detail[:_DETAIL])
