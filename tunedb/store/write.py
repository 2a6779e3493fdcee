"""Writes records to a database file, one transaction for each. A file that cannot be written keeps what it has."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlite_utils import Database as Writer

from tunedb.device import by_slug
from tunedb.errors import DeviceError, KernelError
from tunedb.kernel import distribution, is_stale, source_hash
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record, Tried
from tunedb.store.files import reload
from tunedb.store.migrate_file import file_identity, folder_lock
from tunedb.store.open_for_writing import LOCK_SECONDS, explained, open_for_writing
from tunedb.store.profile import Profile, of_record
from tunedb.store.profile_rows import profile_row
from tunedb.store.read import Database
from tunedb.store.rows import (
    RECORD_SELECT,
    RowError,
    checked_candidate,
    checked_record,
    printable_line,
    record_from_row,
)
from tunedb.suite import Entry

__all__ = ["Merged", "Store"]

# Fields of a record that are columns of the table records: config to trials, and triton to tuned_at.
_KEPT = Record._fields[3:13] + Record._fields[14:]


class Merged(NamedTuple):
    taken: int
    kept: int  # records of this file that were the better ones


class Store:
    """A database file, opened for writing. It is made if it is missing, and migrated if it is of an older version.

    Use it as a context manager: closing compacts the file if something was written. If another file takes the place
    of this one while it is open, the next transaction writes to that.
    Raises DatabaseError: where the file cannot be written, is damaged, foreign or newer; it is left as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = False
        self._open()

    def _open(self) -> None:
        self._connection, self._identity = open_for_writing(self.path)
        self._writer = Writer(self._connection, execute_plugins=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Compact the file if something was written, and release it."""
        if self._written:
            self._written = False
            # May fail while another worker uses the file: that one compacts it when it closes.
            with contextlib.suppress(sqlite3.Error, OSError), folder_lock(self.path, LOCK_SECONDS):
                if file_identity(self.path) == self._identity:
                    self._compact()
            reload()
        self._connection.close()

    def put(self, record: Record, top: Sequence[Tried] = ()) -> bool:
        """Store the answer of a problem on a device with its best few candidates, best first.

        Returns False, and changes nothing, where the file has a record of a better provenance: measured is better than
        proxy, and proxy better than predicted, even if that record is stale or slower. A record of the same provenance
        is always replaced: after a kernel has changed, a new sweep counts, also where the old code was faster.
        A candidate that cannot be stored is left out.
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
            self._write(problem_id, record, top, _distribution)
        return True

    def put_profile(self, profile: Profile) -> bool:
        """Store what ncu counted of a winner. Returns False, and changes nothing, where the file's record has another one.

        Raises DatabaseError, as `put` does.
        """
        with self._transaction():
            known = self._record(problem_id := self._problem_id(profile.problem), profile.device)
            return known is not None and self._keep_profile(problem_id, profile, known)

    def add_suite(self, name: str, entries: Iterable[Entry]) -> None:
        """Store which problems a suite has. An entry with the id of a stored one replaces it."""
        rows = [{"suite": name, "suite_id": entry.id, **_sizes(entry.problem())} for entry in entries]
        with self._transaction():
            self._writer.table("suites").upsert_all(rows, pk=("suite", "suite_id"))

    def merge(self, other: Path) -> Merged:
        """Copy the records of another file that are better than this one's, with their candidates and suites.

        Of two records of a problem and device the better one has the better provenance, else it is newer, else
        faster. So the order of merging does not change which records remain. Rows are written in a fixed order, so
        that merging the same rows into a new file gives the same bytes. A layer of a suite that this file has keeps
        its sizes. The other file is only read, also if it is of an older schema version.
        Raises DatabaseError: where either file fails.
        """
        source = Database(other)
        try:
            found = [(record, source.top(record.problem, record.device)) for record in source.records()]
            devices, suites, distributions = source.devices(), source.suites(), source.distributions()
            profiles = {(one.problem, one.device): one for one in source.profiles()}
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
                    self._write(problem_id, record, top, lambda *kernel: distributions.get(kernel, ""))
                    taken += 1
                    self._keep_profile(problem_id, profiles.get((record.problem, record.device)), record)
            layers = [
                {"suite": suite, "suite_id": suite_id, **_sizes(problem)}
                for suite, suite_id, problem in sorted(suites)
            ]
            self._writer.table("suites").insert_all(layers, pk=("suite", "suite_id"), ignore=True)
        return Merged(taken, len(found) - taken)

    def prune_stale(self) -> int:
        """Remove the records and candidates of kernels whose code has changed; return how many records that were."""
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
            # Candidates and counters are kept only together with the record of their problem.
            for table in ("measurements", "profiles"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE (problem_id, device) NOT IN (SELECT problem_id, device FROM records)"  # noqa: S608 (names of our own)
                )
        return gone

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.path):
            self._begin()
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        self._written = True

    def _begin(self) -> None:
        """Begin a transaction on the file that is at the path now, also if it has replaced the one that was opened."""
        while True:
            with folder_lock(self.path, LOCK_SECONDS):
                if file_identity(self.path) == self._identity:
                    self._connection.execute("BEGIN IMMEDIATE")
                    return
            self._connection.close()
            self._open()

    def _compact(self) -> None:
        self._connection.execute(
            "DELETE FROM kernels WHERE id NOT IN (SELECT kernel_id FROM records UNION SELECT kernel_id FROM measurements)"
        )
        self._connection.execute("DELETE FROM problems WHERE id NOT IN (SELECT problem_id FROM records)")
        self._connection.execute("VACUUM")

    def _write(
        self, problem_id: int, record: Record, top: Sequence[Tried], brought_by: Callable[[str, str], str]
    ) -> None:
        self._add_device(record.device)
        where = {"problem_id": problem_id, "device": record.device}
        row = {name: getattr(record, name) for name in _KEPT}
        kernel_id = self._kernel_id(record.kernel, record.kernel_hash, brought_by)
        self._writer.table("records").upsert(
            {**where, "kernel_id": kernel_id, **row}, pk=("problem_id", "device")
        )
        measurements = self._writer.table("measurements")
        measurements.delete_where("problem_id = ? AND device = ?", [problem_id, record.device])
        for rank, candidate in enumerate(top, 1):
            code = record.kernel_hash if candidate.kernel == record.kernel else _hash(candidate.kernel)
            kernel_id = self._kernel_id(candidate.kernel, code, brought_by)
            row = {
                "rank": rank,
                "kernel_id": kernel_id,
                "config": candidate.config,
                **candidate.measurement._asdict(),
            }
            measurements.insert({**where, **row}, pk=("problem_id", "device", "rank"))

    def _keep_profile(self, problem_id: int, profile: Profile | None, record: Record) -> bool:
        if found := of_record(profile, record):
            row = {"problem_id": problem_id, **profile_row(found)}
            self._writer.table("profiles").upsert(row, pk=("problem_id", "device"))
        return found is not None

    def _add_device(self, slug: str) -> None:
        if not self._all("SELECT 1 FROM devices WHERE slug = ?", slug):
            try:
                device = by_slug(slug)
                row = {"slug": slug, "name": device.name, "capability": device.capability}
            except DeviceError:  # a record of a GPU that is neither in the catalogue nor here
                row = {"slug": slug, "name": slug, "capability": 0}
            self._writer.table("devices").insert(row, pk="slug")

    def _problem_id(self, problem: Problem) -> int:
        where = " AND ".join(f"{name} = ?" for name in problem._fields)
        found = self._all(f"SELECT id FROM problems WHERE {where}", *problem)  # noqa: S608 (column names of our own)
        if found:
            return int(found[0][0])
        return int(self._writer.table("problems").insert(problem._asdict(), pk="id").last_pk)

    def _kernel_id(self, name: str, code: str, brought_by: Callable[[str, str], str]) -> int:
        found = self._all("SELECT id, distribution FROM kernels WHERE name = ? AND hash = ?", name, code)
        text = printable_line(brought_by(name, code))
        kernels = self._writer.table("kernels")
        if not found:
            return int(kernels.insert({"name": name, "hash": code, "distribution": text}, pk="id").last_pk)
        number, known = found[0]
        # Several versions of a distribution may have the same code. One rule for all files: the first in the alphabet.
        if text and (not known or text < str(known)):
            kernels.update(number, {"distribution": text})
        return int(number)

    def _record(self, problem_id: int, device: str) -> Record | None:
        found = self._all(f"{RECORD_SELECT} WHERE p.id = ? AND r.device = ?", problem_id, device)
        with contextlib.suppress(RowError):  # a record that cannot be used counts as none, and is replaced
            return record_from_row(found[0]) if found else None
        return None

    def _all(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, arguments).fetchall()


def _storable(top: Iterable[Tried]) -> Iterator[Tried]:
    """Yield the candidates that may be stored, so that one with, say, an infinite error does not prevent storing the record."""
    for candidate in top:
        measurement = candidate.measurement._replace(detail=printable_line(candidate.measurement.detail))
        with contextlib.suppress(RowError):
            yield checked_candidate(candidate._replace(measurement=measurement))


def _merit(record: Record) -> tuple[Any, ...]:
    # Compared last, so that two different records are never equal.
    rest = tuple("" if value is None else str(value) for value in record)
    return (-PROVENANCES.index(record.provenance), record.tuned_at, -record.time_us, rest)


def _sizes(problem: Problem) -> dict[str, Any]:
    return {
        name: value
        for name, value in problem._asdict().items()
        if name not in {"dtype", "precision", "layout"}
    }


def _distribution(kernel: str, code: str) -> str:
    """Return which installed distribution has this code of a kernel, or an empty string."""
    return "" if is_stale(kernel, code) else distribution(kernel)


def _hash(kernel: str) -> str:
    with contextlib.suppress(KernelError):
        return source_hash(kernel)
    return ""
