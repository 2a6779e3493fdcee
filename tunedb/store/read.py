"""Reads one database file with the standard library only. Every value in it is checked before it is used."""

import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunedb.distance import LAYER
from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.problem import Problem
from tunedb.record import Record, Tried
from tunedb.store.rows import (
    CANDIDATE_SELECT,
    LARGEST,
    RECORD_SELECT,
    RowError,
    candidate_from_row,
    checked_distribution,
    layer_from_row,
    printable_line,
    record_from_row,
)
from tunedb.store.schema import mismatch, version_of, views_of_newest

__all__ = ["Database", "failure", "is_file"]

VALUE_BYTES = 1_000_000  # SQLite refuses to return a longer value
QUERY_SECONDS = 2.0  # a query ends after this: the pages of a damaged or hostile file may form a loop
LOCK_SECONDS = 1.0  # a writer holds its lock for milliseconds

_SIZES = Problem._fields[4:]
_CLASS = ("op", "dtype", "precision", "layout")


def _same(names: Sequence[str]) -> str:
    return " AND ".join(f"p.{name} = ?" for name in names)


class Database:
    """A database file, opened for reading. Threads may share it.

    A file of an older schema version is read as it is: the columns that it lacks have their defaults. It is not changed.
    An `immutable` file is never locked, so it may be on a read-only or a network file system.
    Raises DatabaseError: for a file that is missing, damaged, foreign or newer than this tunedb.
    A row with an impossible value is skipped, with one TunedbWarning for the file.
    """

    def __init__(self, path: Path, *, immutable: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._deadline = 0.0
        self._warned = False
        if not is_file(path):
            raise DatabaseError(f"a database must be a file, but {_at(path)}: correct the path.")
        # as_uri quotes ?, # and %, which have a meaning of their own in a URI.
        uri = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")
        try:
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise failure(path, error) from error
        try:
            self._guard()
            with self._lock:
                self._deadline = time.monotonic() + QUERY_SECONDS
                why = mismatch(self._connection)
                if not why:
                    self._read_as_newest()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._connection.close()
            raise failure(self.path, error) from error
        if why:
            self._connection.close()
            raise DatabaseError(f"{path} cannot be read: {why}.")

    def _guard(self) -> None:
        connection = self._connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        # Bytes that are not UTF-8 become surrogates, which are unprintable, so the checks of a row refuse them.
        connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        connection.set_progress_handler(lambda: time.monotonic() > self._deadline, 20_000)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {pragma}")

    def _read_as_newest(self) -> None:
        self._connection.execute("PRAGMA temp_store = MEMORY")
        for statement in views_of_newest(version_of(self._connection)):
            self._connection.execute(statement)
        self._connection.execute("PRAGMA query_only = ON")  # would refuse the temporary views too

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def record(self, problem: Problem, device: str) -> Record | None:
        """Return the record of exactly this problem on a device, stale or not."""
        found = self._records(_same(Problem._fields), problem, device)
        return found[0] if found else None

    def layer(self, problem: Problem, device: str | None = None) -> list[Record]:
        """Return the records of the same layer, any batch, extents, padding and bias, on one device or on all."""
        return self._records(_same(LAYER), [getattr(problem, name) for name in LAYER], device)

    def sizes(self, problem: Problem) -> list[Record]:
        """Return the records of the same sizes in every dtype, precision and layout, on all devices."""
        names = ("op", *_SIZES)
        return self._records(_same(names), [getattr(problem, name) for name in names])

    def measured_problems(self, problem: Problem, device: str) -> list[Problem]:
        """Return the problems of the same op, dtype, precision and layout that were measured on a device."""
        columns = ", ".join(f"p.{name}" for name in Problem._fields)
        sql = (
            f"SELECT {columns} FROM problems AS p JOIN records AS r ON r.problem_id = p.id "  # noqa: S608 (column names of our own)
            f"WHERE {_same(_CLASS)} AND r.device = ? AND r.provenance = 'measured'"
        )
        rows = self._rows(sql, (*(getattr(problem, name) for name in _CLASS), device))
        return [
            Problem(*row)
            for row in rows
            if all(type(size) is int and 0 <= size <= LARGEST for size in row[4:])
        ]

    def records(self) -> list[Record]:
        """Return every record, in an order that does not depend on how the file was written."""
        return sorted(self._records("1", ()), key=lambda record: (record.device, record.problem))

    def top(self, problem: Problem, device: str) -> list[Tried]:
        """Return the best few candidates of the sweep that gave the record, best first."""
        sql = f"{CANDIDATE_SELECT} WHERE {_same(Problem._fields)} AND m.device = ? ORDER BY m.rank LIMIT 100"
        try:
            return list(self._checked(candidate_from_row, self._rows(sql, (*problem, device))))
        except RowError as error:
            self.reject(str(error))
            return []

    def devices(self) -> dict[str, tuple[str, int]]:
        """Return full name and compute capability of each device, by slug."""
        rows = self._rows("SELECT slug, name, capability FROM devices", ())
        return {slug: (name, capability) for slug, name, capability in rows if type(capability) is int}

    def distributions(self) -> dict[tuple[str, str], str]:
        """Return which distribution a kernel comes from ("tunedb 0.1.0"), by its name and hash; unknown ones are left out."""
        found = {}
        for name, code, text in self._rows("SELECT name, hash, distribution FROM kernels", ()):
            try:
                if checked_distribution(text):
                    found[name, code] = text
            except RowError as error:
                self.reject(str(error))
        return found

    def suites(self) -> list[tuple[str, str, Problem]]:
        """Return suite, id and problem of each layer; its dtype, precision and layout stand for any."""
        rows = self._rows(f"SELECT suite, suite_id, op, {', '.join(_SIZES)} FROM suites", ())  # noqa: S608 (column names of our own)
        return list(self._checked(layer_from_row, rows))

    def reject(self, why: str) -> None:
        """Warn, once for this file, that a row of it is skipped."""
        self.complain(f"A row of {self.path} is left aside: {why} Others like it are left aside silently.")

    def complain(self, message: str) -> None:
        """Warn, unless this file was warned about before."""
        if not self._warned:
            self._warned = True
            warnings.warn(message, TunedbWarning, stacklevel=3)

    def _records(self, where: str, arguments: Sequence[Any], device: str | None = None) -> list[Record]:
        """Return the records whose problem matches a condition on its columns."""
        on_device, own = ("", ()) if device is None else (" AND r.device = ?", (device,))
        try:
            rows = self._rows(f"{RECORD_SELECT} WHERE {where}{on_device}", (*arguments, *own))
        except RowError as error:
            # SQLite refuses a value and ends the whole query: read the problems one by one and skip that one.
            self.reject(str(error))
            rows = []
            for (number,) in self._rows(f"SELECT p.id FROM problems AS p WHERE {where}", arguments):  # noqa: S608 (column names of our own)
                try:
                    rows += self._rows(f"{RECORD_SELECT} WHERE p.id = ?{on_device}", (number, *own))
                except RowError:
                    continue
        return list(self._checked(record_from_row, rows))

    def _checked(self, read: Any, rows: list[Any]) -> Iterator[Any]:
        for row in rows:
            try:
                yield read(row)
            except RowError as error:
                self.reject(str(error))

    def _rows(self, sql: str, arguments: Sequence[Any]) -> list[Any]:
        with self._lock:
            self._deadline = time.monotonic() + QUERY_SECONDS
            try:
                return self._connection.execute(sql, tuple(arguments)).fetchall()
            except (sqlite3.DataError, OverflowError) as error:
                raise RowError(f"{error}.") from error
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise failure(self.path, error) from error


def is_file(path: Path) -> bool:
    """Return whether there is a file at the path and its folder may be entered."""
    try:
        return path.is_file()
    except OSError:  # the folder may not be entered
        return False


def _at(path: Path) -> str:
    """Return what is at a path in place of a file."""
    try:
        folder = path.is_dir()
    except OSError:
        folder = False
    return f"{path} is a folder" if folder else f"there is none at {path}"


def failure(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> DatabaseError:
    """Return SQLite's message about a file with a remedy. The message may quote damaged text of the file."""
    text = printable_line(str(error))
    for mark, rule, remedy in _REMEDIES:
        if mark in text:
            return DatabaseError(f"a database must be {rule}, but {path} gives: {text}. {remedy}")
    return DatabaseError(
        f"a database must be a sound SQLite file, but {path} gives: {text}. Restore it from a copy or delete it."
    )


_REMEDIES = (
    ("locked", "free to read and write", "Another process holds it: try again when that has ended."),
    ("readonly", "writable", "Change its permissions or name another file."),
    ("unable to open", "readable, and its folder writable", "Change their permissions or name another file."),
    ("full", "on a disk with space left", "Free some space or name another file."),
    (
        "interrupted",
        "quick to read",
        "It is damaged or made to waste time: restore it from a copy or delete it.",
    ),
)
