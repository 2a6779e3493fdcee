"""Reads one database file with the standard library only. Every value in it is checked before it is used."""

from collections.abc import Sequence
from typing import Any

from tunedb.distance import LAYER
from tunedb.problem import Problem
from tunedb.record import Record, Tried
from tunedb.store.connection import Connection
from tunedb.store.profile import Profile, of_record
from tunedb.store.profile_rows import PROFILE_SELECT, profile_from_row
from tunedb.store.rows import (
    CANDIDATE_SELECT,
    LAYER_COLUMNS,
    PROBLEM_COLUMNS,
    RECORD_SELECT,
    candidate_from_row,
    cut,
    device_from_row,
    distribution_from_row,
    layer_from_row,
    problem_from_row,
    record_from_row,
)

__all__ = ["NEAREST", "Database"]

NEAREST = (
    1_000  # rows of a layer or class on either side of the problem: a file of any size gives its nearest
)

_SIZES = Problem._fields[4:]
_CLASS = ("op", "dtype", "precision", "layout")


def _same(names: Sequence[str]) -> str:
    return " AND ".join(f"p.{name} = ?" for name in names)


class Database(Connection):
    """A database file, opened for reading. Threads may share it.

    A file of an older schema version is read as it is: the columns that it lacks have their defaults. It is not changed.
    An `immutable` file is never locked, so it may be on a read-only or a network file system.
    Raises DatabaseError: for a file that is missing, damaged, foreign or newer than this tunedb.
    A row with an impossible value is skipped, with one TunedbWarning for the file.
    In a lookup (tunedb/store/budget.py) a query gives what it finds within the lookup's budget, elsewhere every row.
    """

    def record(self, problem: Problem, device: str) -> Record | None:
        """Return the record of exactly this problem on a device, stale or not."""
        found = self._records(f"{_same(Problem._fields)} AND r.device = ?", (*problem, device))
        return found[0] if found else None

    def layer(self, problem: Problem, device: str | None = None) -> list[Record]:
        """Return the records of the same layer, any batch, extents, padding and bias, on one device or on all.

        Of a layer with very many the NEAREST by batch, on either side.
        """
        own = "" if device is None else " AND r.device = ?"
        arguments = [*(getattr(problem, name) for name in LAYER), *([] if device is None else [device])]
        return self._around(
            "n", problem, f"{RECORD_SELECT} WHERE {_same(LAYER)}{own}", arguments, record_from_row
        )

    def sizes(self, problem: Problem) -> list[Record]:
        """Return the records of the same sizes in every dtype, precision and layout, on all devices."""
        names = ("op", *_SIZES)
        return self._records(_same(names), [getattr(problem, name) for name in names])

    def measured_problems(self, problem: Problem, device: str) -> list[Problem]:
        """Return the problems of the same op, dtype, precision and layout that were measured on a device.

        Of very many the NEAREST by input channels, on either side.
        """
        # CROSS JOIN: by the index of problems, in the order of their channels.
        sql = (
            f"SELECT {PROBLEM_COLUMNS} FROM problems AS p CROSS JOIN records AS r ON r.problem_id = p.id "  # noqa: S608 (column names of our own)
            f"WHERE {_same(_CLASS)} AND r.device = ? AND r.provenance = 'measured'"
        )
        arguments = [*(getattr(problem, name) for name in _CLASS), device]
        return self._around("c_in", problem, sql, arguments, problem_from_row)

    def records(self) -> list[Record]:
        """Return every record, in an order that does not depend on how the file was written."""
        return sorted(self._records("1", ()), key=lambda record: (record.device, record.problem))

    def top(self, problem: Problem, device: str) -> list[Tried]:
        """Return the best few candidates of the sweep that gave the record, best first."""
        sql = f"{CANDIDATE_SELECT} WHERE {_same(Problem._fields)} AND m.device = ? ORDER BY m.rank LIMIT 100"
        return self._rows(sql, (*problem, device), candidate_from_row)

    def profile(self, record: Record) -> Profile | None:
        """Return what ncu counted of a record's winner; None where nobody looked, or where it is of another winner."""
        sql = f"{PROFILE_SELECT} WHERE {_same(Problem._fields)} AND f.device = ?"
        found = self._rows(sql, (*record.problem, record.device), profile_from_row)
        return of_record(found[0] if found else None, record)

    def profiles(self) -> list[Profile]:
        """Return every profile, in an order that does not depend on how the file was written."""
        return sorted(self._rows(PROFILE_SELECT, (), profile_from_row))

    def devices(self) -> dict[str, tuple[str, int]]:
        """Return full name and compute capability of each device, by slug."""
        sql = f"SELECT {cut('slug')}, {cut('name')}, {cut('capability')} FROM devices"  # noqa: S608 (column names of our own)
        return {slug: (name, capability) for slug, name, capability in self._rows(sql, (), device_from_row)}

    def distributions(self) -> dict[tuple[str, str], str]:
        """Return which distribution a kernel comes from ("tunedb 0.1.0"), by its name and hash; unknown ones are left out."""
        sql = f"SELECT {cut('name')}, {cut('hash')}, {cut('distribution')} FROM kernels"  # noqa: S608 (column names of our own)
        return {(name, code): text for name, code, text in self._rows(sql, (), distribution_from_row) if text}

    def suites(self) -> list[tuple[str, str, Problem]]:
        """Return suite, id and problem of each layer; its dtype, precision and layout stand for any."""
        return self._rows(f"SELECT {LAYER_COLUMNS} FROM suites AS s", (), layer_from_row)  # noqa: S608 (column names of our own)

    def _records(self, where: str, arguments: Sequence[Any]) -> list[Record]:
        """Return the records that match a condition."""
        return self._rows(f"{RECORD_SELECT} WHERE {where}", arguments, record_from_row)

    def _around(self, name: str, problem: Problem, sql: str, arguments: list[Any], read: Any) -> list[Any]:
        """Return the rows on either side of the problem by one column, which is the next one of the index."""
        own = [*arguments, getattr(problem, name)]
        above = self._rows(f"{sql} AND p.{name} >= ? ORDER BY p.{name} LIMIT {NEAREST}", own, read)
        below = self._rows(f"{sql} AND p.{name} < ? ORDER BY p.{name} DESC LIMIT {NEAREST}", own, read)
        return [*reversed(below), *above]
