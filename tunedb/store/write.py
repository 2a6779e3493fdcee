"""Write answers: one transaction a record, nothing lost where a file cannot be written."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlite_utils import Database as Writer

from tunedb.device import by_slug
from tunedb.errors import DeviceError, KernelError
from tunedb.kernel import is_stale, source_hash
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record
from tunedb.store.files import reload
from tunedb.store.open_for_writing import explained, open_for_writing
from tunedb.store.read import Database
from tunedb.store.rows import (
    RECORD_SELECT,
    Candidate,
    RowError,
    checked_candidate,
    checked_record,
    one_line,
    record_from_row,
)
from tunedb.suite import Entry

__all__ = ["Candidate", "Merged", "Store"]

_KEPT = (
    Record._fields[3:13] + Record._fields[14:]
)  # columns of records that are stored as they are: config … trials, triton …


class Merged(NamedTuple):
    taken: int
    kept: int  # records of this file that were the better ones


class Store:
    """A database file, opened for writing and made if it is not there.

    Use it as a context manager: closing compacts the file where something was written.
    Raises DatabaseError: where the file cannot be written, is damaged, foreign or newer; it is left as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = False
        self._connection = open_for_writing(path)
        self._writer = Writer(self._connection, execute_plugins=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Compact the file where something was written, and release it."""
        if self._written:
            self._written = False
            # Only tidiness: another worker that holds the file will do it when it closes.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute(
                    "DELETE FROM kernels WHERE id NOT IN (SELECT kernel_id FROM records UNION SELECT kernel_id FROM measurements)"
                )
                self._connection.execute(
                    "DELETE FROM problems WHERE id NOT IN (SELECT problem_id FROM records)"
                )
                self._connection.execute("VACUUM")
            reload()
        self._connection.close()

    def put(self, record: Record, top: Sequence[Candidate] = ()) -> bool:
        """Store the answer of a problem on a device with its best few candidates, best first; one that cannot be stored is left out.

        Returns False where the file knows better: measured stands over proxy, and proxy over predicted, be it
        stale or slower. A record of the same provenance always replaces the older one, so that a new sweep of
        changed code is never held back by what the old code could do.
        Raises DatabaseError: where a value cannot be stored or the file cannot be written.
        """
        checked_record(record)
        top = list(_storable(top))
        with self._transaction():
            problem_id = self._problem_id(record.problem)
            known = self._record(problem_id, record.device)
            if known is not None and PROVENANCES.index(known.provenance) < PROVENANCES.index(
                record.provenance
            ):
                return False
            self._write(problem_id, record, top)
        return True

    def add_suite(self, name: str, entries: Iterable[Entry]) -> None:
        """Store which problems a suite is made of; an id that is there already is replaced."""
        rows = [{"suite": name, "suite_id": entry.id, **_sizes(entry.problem())} for entry in entries]
        with self._transaction():
            self._writer.table("suites").upsert_all(rows, pk=("suite", "suite_id"))

    def merge(self, other: Path) -> Merged:
        """Take over the records of another file that are better than this one's, with their candidates and suites.

        The better of two records of a problem and device is the one of the higher provenance, else the newer
        one, else the faster one: whatever the order of merging, the records are the same in the end. Rows are
        written in a fixed order, so that merging into a new file gives the same bytes for the same rows.
        A layer of a suite that is known here keeps its sizes. Raises DatabaseError: where either file fails.
        """
        source = Database(other)
        try:
            found = [(record, source.top(record.problem, record.device)) for record in source.records()]
            devices, suites = source.devices(), source.suites()
        finally:
            source.close()
        taken = 0
        with self._transaction():
            rows = [
                {"slug": slug, "name": name, "capability": capability}
                for slug, (name, capability) in sorted(devices.items())
            ]
            self._writer.table("devices").insert_all(rows, pk="slug", ignore=True)
            for record, top in found:
                problem_id = self._problem_id(record.problem)
                known = self._record(problem_id, record.device)
                if known is None or _merit(record) > _merit(known):
                    self._write(problem_id, record, top)
                    taken += 1
            layers = [
                {"suite": suite, "suite_id": suite_id, **_sizes(problem)}
                for suite, suite_id, problem in sorted(suites)
            ]
            self._writer.table("suites").insert_all(layers, pk=("suite", "suite_id"), ignore=True)
        return Merged(taken, len(found) - taken)

    def prune_stale(self) -> int:
        """Remove the records and candidates of kernels that have changed since; return how many records went."""
        with self._transaction():
            stale = [
                number
                for number, name, code in self._all("SELECT id, name, hash FROM kernels")
                if is_stale(name, code)
            ]
            gone = 0
            for number in stale:
                gone += self._connection.execute(
                    "DELETE FROM records WHERE kernel_id = ?", (number,)
                ).rowcount
                self._connection.execute("DELETE FROM measurements WHERE kernel_id = ?", (number,))
            # The candidates of a problem are kept with its record or not at all.
            self._connection.execute(
                "DELETE FROM measurements WHERE (problem_id, device) NOT IN (SELECT problem_id, device FROM records)"
            )
        return gone

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        self._written = True

    def _write(self, problem_id: int, record: Record, top: Sequence[Candidate]) -> None:
        self._add_device(record.device)
        where = {"problem_id": problem_id, "device": record.device}
        row = {name: getattr(record, name) for name in _KEPT}
        kernel_id = self._kernel_id(record.kernel, record.kernel_hash)
        self._writer.table("records").upsert(
            {**where, "kernel_id": kernel_id, **row}, pk=("problem_id", "device")
        )
        measurements = self._writer.table("measurements")
        measurements.delete_where("problem_id = ? AND device = ?", [problem_id, record.device])
        for rank, candidate in enumerate(top, 1):
            code = record.kernel_hash if candidate.kernel == record.kernel else _hash(candidate.kernel)
            kernel_id = self._kernel_id(candidate.kernel, code)
            row = {
                "rank": rank,
                "kernel_id": kernel_id,
                "config": candidate.config,
                **candidate.measurement._asdict(),
            }
            measurements.insert({**where, **row}, pk=("problem_id", "device", "rank"))

    def _add_device(self, slug: str) -> None:
        if not self._all("SELECT 1 FROM devices WHERE slug = ?", slug):
            try:
                device = by_slug(slug)
                row = {"slug": slug, "name": device.name, "capability": device.capability}
            except DeviceError:  # a record made elsewhere
                row = {"slug": slug, "name": slug, "capability": 0}
            self._writer.table("devices").insert(row, pk="slug")

    def _problem_id(self, problem: Problem) -> int:
        where = " AND ".join(f"{name} = ?" for name in problem._fields)
        found = self._all(f"SELECT id FROM problems WHERE {where}", *problem)  # noqa: S608 (column names of our own)
        return int(
            found[0][0]
            if found
            else self._writer.table("problems").insert(problem._asdict(), pk="id").last_pk
        )

    def _kernel_id(self, name: str, code: str) -> int:
        found = self._all("SELECT id FROM kernels WHERE name = ? AND hash = ?", name, code)
        return int(
            found[0][0]
            if found
            else self._writer.table("kernels").insert({"name": name, "hash": code}, pk="id").last_pk
        )

    def _record(self, problem_id: int, device: str) -> Record | None:
        found = self._all(f"{RECORD_SELECT} WHERE p.id = ? AND r.device = ?", problem_id, device)
        with contextlib.suppress(RowError):  # what cannot be used may be replaced
            return record_from_row(found[0]) if found else None
        return None

    def _all(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, arguments).fetchall()


def _storable(top: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates that may be stored: one without a finite error, say, must not cost the record."""
    for candidate in top:
        measurement = candidate.measurement._replace(detail=one_line(candidate.measurement.detail))
        with contextlib.suppress(RowError):
            yield checked_candidate(candidate._replace(measurement=measurement))


def _merit(record: Record) -> tuple[Any, ...]:
    rest = tuple(
        "" if value is None else str(value) for value in record
    )  # so that no two different records tie
    return (-PROVENANCES.index(record.provenance), record.tuned_at, -record.time_us, rest)


def _sizes(problem: Problem) -> dict[str, Any]:
    return {
        name: value
        for name, value in problem._asdict().items()
        if name not in {"dtype", "precision", "layout"}
    }


def _hash(kernel: str) -> str:
    try:
        return source_hash(kernel)
    except KernelError:
        return ""
