"""What a lookup read of a file stays in memory until the file changes: the next length of a layer asks SQLite nothing.

Rows are kept by the question that they answer, so that what is remembered is what the file would say. Only whole answers are
kept: one that a budget cut short is asked for again. Without a lookup (tunedb/store/budget.py) the file is asked every time.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from tunedb.distance import LAYER, kind, least_between_neighbours
from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.store.budget import lookup
from tunedb.store.read import NEAREST, Database

__all__ = ["ROWS_KEPT", "decided", "devices", "layer", "measured_within", "record", "record_of_layer"]

# Of one file; at so many all are forgotten. 22 MB of sound rows, some 60 MB of the longest that a check accepts.
ROWS_KEPT = 8_000
_layer_of = itemgetter(*(Problem._fields.index(name) for name in LAYER))

Found = TypeVar("Found")


class _Kept:
    """What is remembered of a file as it was at one version."""

    def __init__(self, version: object) -> None:
        self.version = version
        self.answers: dict[Any, Any] = {}
        self.rows = 0


class _Layer(NamedTuple):
    records: list[Record]
    by_problem: dict[tuple[Problem, str], Record]


def layer(file: Database, problem: Problem, slug: str | None) -> list[Record]:
    """Return Database.layer. It is the caller's to read only."""
    return _remembered(
        file,
        _of_layer(problem, slug),
        lambda: _whole(file.layer(problem, slug)),
        lambda found: len(found.records),
    ).records


def record_of_layer(file: Database, problem: Problem, slug: str) -> Record | None:
    """Return Database.record: from memory where the problem's whole layer is there."""
    known: _Layer | None = _recalled(file, _of_layer(problem, slug))
    # The first of many are only the nearest ones.
    if known is not None and len(known.records) < NEAREST:
        return known.by_problem.get((problem, slug))
    return file.record(problem, slug)


def record(file: Database, problem: Problem, slug: str) -> Record | None:
    """Return Database.record of a problem that is in the file: there are as many to remember as it has."""
    (found,) = _remembered(file, ("record", problem, slug), lambda: [file.record(problem, slug)])
    return found


def measured_within(file: Database, problem: Problem, slug: str, limit: float) -> list[Problem]:
    """Return those of Database.measured_problems that are of the problem's kind, and within a distance of it for some extents."""

    def within() -> list[Problem]:
        return [
            known
            for known in _measured(file, problem, slug)
            if kind(known) == kind(problem) and least_between_neighbours(problem, known) <= limit
        ]

    return _remembered(file, ("measured", limit, slug, *_layer_of(problem)), within)


def _measured(file: Database, problem: Problem, slug: str) -> list[Problem]:
    """Return Database.measured_problems: from memory where the whole class of the problem is there."""
    key = ("class", slug, *problem[:4])  # op, dtype, precision, layout
    found = _remembered(file, key, lambda: file.measured_problems(problem, slug))
    # The first of many are only those nearest to the problem that asked first.
    return found if len(found) < NEAREST else file.measured_problems(problem, slug)


def decided(file: Database, key: tuple[Any, ...], decide: Callable[[], Any]) -> Any:
    """Return what was decided before by this state of the file, or decide it now."""
    (found,) = _remembered(file, ("decided", *key), lambda: [decide()])
    return found


def devices(file: Database) -> dict[str, tuple[str, int]]:
    """Return Database.devices. It is the caller's to read only."""
    return _remembered(file, "devices", file.devices)


def _of_layer(problem: Problem, slug: str | None) -> tuple[Any, ...]:
    """Return all that Database.layer asks by."""
    return ("layer", problem.n, slug, *_layer_of(problem))


def _whole(records: list[Record]) -> _Layer:
    by_problem: dict[tuple[Problem, str], Record] = {}
    for one in records:
        by_problem.setdefault((one.problem, one.device), one)
    return _Layer(records, by_problem)


def _recalled(file: Database, key: Any) -> Any:
    kept = _kept(file)
    return None if kept is None else kept.answers.get(key)


def _remembered(
    file: Database, key: Any, read: Callable[[], Found], size: Callable[[Any], int] = len
) -> Found:
    """Return what `read` gives, from memory where that is there; `size` says how many rows it is."""
    kept = _kept(file)
    if kept is None:
        return read()
    known: Found | None = kept.answers.get(key)
    if known is not None:
        return known
    here = lookup()
    assert here is not None
    cut = here.cut
    found = read()
    if here.cut == cut:
        rows = 1 + size(found)
        if kept.rows + rows > ROWS_KEPT:
            kept.answers.clear()
            kept.rows = 0
        kept.answers[key] = found
        kept.rows += rows
    return found


def _kept(file: Database) -> _Kept | None:
    """Return what is remembered of a file as it is now; None outside a lookup, and where the file does not say."""
    here = lookup()
    if here is None:
        return None
    # Once in a lookup: its parts answer from one state of the file.
    if file not in here.versions:
        here.versions[file] = file.version()
    version = here.versions[file]
    if version is None:
        return None
    kept: _Kept | None = file.kept
    if kept is None or kept.version != version:
        kept = file.kept = _Kept(version)
    return kept
