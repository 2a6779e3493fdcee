"""The answers of a sweep: what earlier ones found and hints at, and the databases that get each new record."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tunedb.device import floor_us, gpu_of
from tunedb.dispatch.lookup import answer
from tunedb.dispatch.usable import devices_of
from tunedb.kernel import config_to_json
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.store import files
from tunedb.store.files import read_or_default
from tunedb.store.read import Database
from tunedb.store.rows import RowError, from_result
from tunedb.store.write import Store
from tunedb.tune.choose_winner import ATEN, surest, winner, without_aten
from tunedb.tune.journal import History
from tunedb.tune.messages import Finished
from tunedb.tune.predict.proxies import PROXY, timed
from tunedb.tune.settings import Settings
from tunedb.tune.warm_start import nearest

__all__ = ["Answers"]

_DETAIL = 200  # characters of a finalist's detail that the database keeps
_STORED = 4  # candidates of a problem that databases hold and a search tries first: a sweep stores so many
_HERE, _ELSEWHERE = 3, 2  # winners of similar problems that come first, of this GPU and of others
_KIN = 12  # winners of each that are considered


class Answers:
    """The records of a sweep, in its one or two databases and in mind. Close it."""

    def __init__(self, settings: Settings, kernels: Any) -> None:
        """Open the databases. Raises DatabaseError: where that fails."""
        self._device = settings.device
        self._provenance = settings.provenance
        self._kernels = kernels
        self._store = Store(settings.db)
        self._triton_store = None if settings.triton_db is None else Store(settings.triton_db)
        # Of each problem, on this GPU and on others. What this sweep finds takes the place of what the databases say.
        self._winners = _own_kernels(files.opened(self._device.slug))
        self._elsewhere = _own_kernels(files.opened_elsewhere(self._device.slug))
        self._wins: Counter[tuple[str, Choice]] = Counter()
        self.records: dict[Problem, Record] = {}

    def close(self) -> None:
        self._store.close()
        if self._triton_store is not None:
            self._triton_store.close()

    def learn(self, history: History) -> str:
        """Use the winners of earlier sweeps as hints, whatever the version of their kernel: they often still win.

        Returns why some of them are not usable, or an empty text.
        """
        unusable = ""
        for result in history.results(self._device.slug, self._provenance):
            try:
                record, _ = from_result(result)
            except RowError as error:
                unusable = unusable or str(error)
                continue
            if record.kernel != ATEN.kernel:
                self._winners[record.problem] = Choice(record.kernel, record.config)
        return unusable

    def lean(self, records: Iterable[Record]) -> None:
        """Let ties go to what has won most often among these records."""
        self._wins.update((one.problem.op, Choice(one.kernel, one.config)) for one in records)

    def kin(self, problem: Problem) -> list[Choice]:
        """Return the winners of the most similar problems: a few of this GPU, fewer of others, then more of both."""
        here, elsewhere = nearest(problem, self._winners, _KIN), nearest(problem, self._elsewhere, _KIN)
        return list(dict.fromkeys([*here[:_HERE], *elsewhere[:_ELSEWHERE], *here, *elsewhere]))

    def proxied(self, problem: Problem) -> list[Choice]:
        """Return the best candidates that were timed in the place of this GPU, where it is not here."""
        if self._provenance == "measured":
            return []
        return list(timed(problem, self._device))[:_STORED]

    def recommended(self, problem: Problem) -> tuple[float | None, list[Choice]]:
        """Return what the databases say of a problem that this sweep has not searched yet.

        That is torch's microseconds, where a record of the same sizes knows them, the choice that answers today, and the best
        candidates of earlier sweeps, on this GPU and on others of its generation.
        """
        own = Database(self._store.path).record(problem, self._device.slug)
        found = answer(problem, self._device)
        choices = [] if own is None else [Choice(own.kernel, own.config)]
        if found.config is not None:
            choices.append(Choice(found.kernel, config_to_json(found.config)))
        elif found.record is not None and found.record.problem == problem:
            # Too unsure to answer is not too unsure to be tried.
            choices.append(Choice(found.record.kernel, found.record.config))
        choices += self._stored(problem) + self._stored_elsewhere(problem)
        records = [record for record in (own, found.record) if record is not None]
        same = [
            record.aten_us for record in records if record.problem._replace(dtype=problem.dtype) == problem
        ]
        known = [choice for choice in dict.fromkeys(choices) if choice.kernel != ATEN.kernel]
        return next((us for us in same if us is not None), None), known

    def _stored(self, problem: Problem) -> list[Choice]:
        """Return the best candidates that databases hold of a problem, those of the one that is written first."""
        slug = self._device.slug
        held = (one.top(problem, slug) for one in (Database(self._store.path), *files.opened(slug)))
        return _fine(one for top in held for one in top)[:_STORED]

    def _stored_elsewhere(self, problem: Problem) -> list[Choice]:
        """Return the best candidates of the same problem that were measured on other GPUs of this one's generation."""
        if self._provenance != "measured":
            return []  # there they are proxies
        own = self._device.capability // 10
        found: list[Tried] = []
        for file in files.opened_elsewhere(self._device.slug):
            for slug, (_, capability) in devices_of(file).items():
                if slug == gpu_of(slug) and capability // 10 == own:
                    record = read_or_default(file, partial(file.record, problem, slug), None)
                    if record is not None and record.provenance == "measured":
                        found.append(Tried(record.kernel, record.config, Measurement("ok")))
                        found += read_or_default(file, partial(file.top, problem, slug), list[Tried]())
        return _fine(found)[:_STORED]

    def record(self, final: Finished) -> tuple[Record, list[Tried]] | None:
        """Return the record that a final pass gives, and its finalists, best first. None where nobody has a time."""
        if self._provenance == "measured":
            best = winner(final.finalists, final.aten, self._wins_of(final.problem))
        else:
            best = surest(final.finalists)
        if best is None:
            return None
        best_first = sorted(final.finalists, key=_rank)
        top = [tried._replace(measurement=_stored(tried.measurement)) for tried in best_first]
        return self._record(final, best), top

    def put(self, record: Record, top: Sequence[Tried]) -> list[str]:
        """Write a new answer; return the names of the databases that keep a better one of their own."""
        keeping = [store.path.name for store, best in self._answers(record, top) if not store.put(best, top)]
        self._know(record)
        return keeping

    def restore(self, record: Record, top: Sequence[Tried]) -> None:
        """Give an answer of the history to the databases that have none of its problem."""
        for store, best in self._answers(record, top):
            if Database(store.path).record(record.problem, record.device) is None:
                store.put(best, top)
        self._know(record)

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
            provenance="proxy" if measurement.detail.startswith(PROXY) else self._provenance,
            trials=final.trials,
            kernel_hash=self._kernels.source_hash(best.kernel),
            **{name: versions.get(name, "") for name in ("triton", "torch", "cudnn", "driver")},
            tuned_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

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

    def _know(self, record: Record) -> None:
        before = self.records.get(record.problem)
        if before is not None:  # a further stage of the same search is no further win
            self._wins[(record.problem.op, Choice(before.kernel, before.config))] -= 1
        self.records[record.problem] = record
        choice = Choice(record.kernel, record.config)
        if choice != ATEN:
            self._winners[record.problem] = choice
        self._wins[(record.problem.op, choice)] += 1


def _rank(tried: Tried) -> tuple[bool, float]:
    """Order finalists by the final pass, those that failed it last."""
    return tried.measurement.status != "ok", tried.measurement.time_us or 0.0


def _stored(measurement: Measurement) -> Measurement:
    return measurement._replace(detail=measurement.detail[:_DETAIL])


def _fine(candidates: Iterable[Tried]) -> list[Choice]:
    """Return the candidates that ran, each once, torch's own kernel left out."""
    ran = (one.choice for one in candidates if one.measurement.status == "ok")
    return list(dict.fromkeys(choice for choice in ran if choice.kernel != ATEN.kernel))


def _own_kernels(databases: Iterable[Database]) -> dict[Problem, Choice]:
    """Return what won each problem where that was not torch, the answer of the first of several databases."""
    found: dict[Problem, Choice] = {}
    for record in (record for one in databases for record in one.records()):
        if record.kernel != ATEN.kernel:
            found.setdefault(record.problem, Choice(record.kernel, record.config))
    return found
