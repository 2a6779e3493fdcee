"""What was swept: the records of database files, in groups, with the best and the worst of them."""

import datetime as dt
from collections.abc import Iterable, Sequence
from math import exp, log
from pathlib import Path
from typing import Any, NamedTuple

from tunedb.model.report import versions_of
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record

__all__ = ["DatabaseReport", "Group", "Named", "database_report"]

SHOWN = 10  # of the best and of the worst
_Key = tuple[str, str, str, str, str, str]


class Group(NamedTuple):
    """The records of one device, op, dtype, precision, layout and provenance; means are geometric.

    In the totals those are "" where the records differ in them, and the share of the floor is that of the compared.
    """

    device: str
    op: str
    dtype: str
    precision: str
    layout: str
    provenance: str
    records: int
    stale: int
    compared: int  # measured, torch's time too
    torch_kernel: int  # of the compared: torch's own kernel won
    speedup: float | None  # torch's time over the record's, of the compared
    floor_share: float | None  # floor over the record's time; of a predicted group it is the prediction's


class Named(NamedTuple):
    """A record with the ids that its sizes have in suites, as "kernelbench kb81"."""

    record: Record
    names: tuple[str, ...]
    stale: bool

    @property
    def speedup(self) -> float | None:
        """Torch's time over the record's; None where that was not measured."""
        record = self.record
        known = record.provenance == "measured" and record.aten_us and record.time_us
        return record.aten_us / record.time_us if known and record.aten_us else None


class DatabaseReport(NamedTuple):
    """The records of some files; of two of one problem and device the one that answers counts."""

    title: str
    paths: tuple[Path, ...]
    date: str  # UTC, YYYY-MM-DD
    groups: tuple[Group, ...]
    totals: Group
    best: tuple[Named, ...]  # by speed-up, at most ten
    worst: tuple[Named, ...]  # the slowest first; none that is among the best
    versions: tuple[str, ...]


def database_report(
    paths: Sequence[Path], *, device: str | None = None, title: str = "", date: str | None = None
) -> DatabaseReport:
    """Return what the files hold, of one device (its slug) or of all. The file that answers first stands in front.

    `date` is today's (UTC) by default.
    Raises DatabaseError: where a file cannot be read.
    """
    kept = [one for one in _records(paths) if device in {None, one.record.device}]
    groups: dict[_Key, list[Named]] = {}
    for one in kept:
        groups.setdefault(_key(one), []).append(one)
    ranked = sorted((one for one in kept if one.speedup), key=_rank)
    best = tuple(ranked[:SHOWN])
    return DatabaseReport(
        title, tuple(paths), date or dt.datetime.now(dt.UTC).date().isoformat(),
        tuple(_group(key, groups[key]) for key in sorted(groups)), _total(kept), best,
        tuple(reversed(ranked[len(best):][-SHOWN:])), tuple(sorted({versions_of(one.record) for one in kept})),
    )  # fmt: skip


def _records(paths: Iterable[Path]) -> list[Named]:
    from tunedb.kernel import is_stale
    from tunedb.store.read import Database

    found: dict[tuple[str, Problem], Record] = {}
    names: dict[Problem, dict[str, None]] = {}
    for path in paths:
        file = Database(path)
        try:
            records, suites = file.records(), file.suites()
        finally:
            file.close()
        for record in records:
            known = found.setdefault((record.device, record.problem), record)
            if PROVENANCES.index(record.provenance) < PROVENANCES.index(known.provenance):
                found[record.device, record.problem] = record
        for suite, suite_id, problem in suites:
            names.setdefault(_sizes(problem), {})[f"{suite} {suite_id}"] = None
    return [
        Named(
            record, tuple(names.get(_sizes(record.problem), ())), is_stale(record.kernel, record.kernel_hash)
        )
        for record in found.values()
    ]


def _rank(one: Named) -> Any:
    """Return what the best comes first by; of equal ones the worst is farthest from the floor."""
    record = one.record
    return (
        -(one.speedup or 0.0),
        record.time_us / (record.floor_us or record.time_us),
        record.device,
        record.problem,
    )


def _sizes(problem: Problem) -> Problem:
    """Return a problem that stands for its sizes in any dtype, precision and layout."""
    return problem._replace(dtype="", precision="", layout="")


def _total(kept: Sequence[Named]) -> Group:
    columns = list(zip(*(_key(one) for one in kept), strict=True)) or [("",)] * 6
    device, op, dtype, precision, layout, provenance = (
        column[0] if len(set(column)) == 1 else "" for column in columns
    )
    key = (device, op, dtype, precision, layout, provenance)
    compared = _group(key, [one for one in kept if one.speedup])
    return _group(key, kept)._replace(floor_share=compared.floor_share)


def _key(one: Named) -> _Key:
    problem = one.record.problem
    return (
        one.record.device, problem.op, problem.dtype, problem.precision, problem.layout, one.record.provenance,
    )  # fmt: skip


def _group(key: _Key, members: Sequence[Named]) -> Group:
    device, op, dtype, precision, layout, provenance = key
    speedups = [one.speedup for one in members if one.speedup]
    floors = [one.record.floor_us / one.record.time_us for one in members if one.record.floor_us and one.record.time_us]  # fmt: skip
    return Group(
        device, op, dtype, precision, layout, provenance, len(members), sum(one.stale for one in members), len(speedups),
        sum(bool(one.speedup) and one.record.kernel == "aten" for one in members), _mean(speedups), _mean(floors),
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return exp(sum(map(log, values)) / len(values)) if values else None
