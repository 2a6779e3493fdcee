"""How records become rows of a database and results of a search history, and come back from them.

Values are checked before they are written, and again after they were read: a file may hold anything.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunedb.errors import ProblemError, TunedbWarning
from tunedb.problem import Problem, checked
from tunedb.record import PROVENANCES, STATUSES, Measurement, Record, Tried
from tunedb.store.checks import (
    CONFIG_LENGTH,
    LARGEST,
    TEXT_LENGTH,
    RowError,
    check_count,
    check_number,
    check_text,
    check_time,
)

__all__ = [
    "CANDIDATE_SELECT",
    "LARGEST",
    "LAYER_COLUMNS",
    "LONG",
    "PROBLEM_COLUMNS",
    "RECORD_SELECT",
    "RowError",
    "candidate_from_row",
    "checked_candidate",
    "checked_distribution",
    "checked_record",
    "columns",
    "cut",
    "device_from_row",
    "distribution_from_row",
    "from_result",
    "layer_from_row",
    "printable_line",
    "problem_from_row",
    "record_from_row",
    "to_result",
]


def cut(column: str, length: int = TEXT_LENGTH) -> str:
    """Return SQL for a column whose text or bytes are cut behind the longest that a check accepts.

    So a value of any size is refused by its check, and never leaves SQLite whole.
    """
    return f"iif(typeof({column}) IN ('text', 'blob'), substr({column}, 1, {length + 1}), {column})"


LONG = ("config", "launches")  # columns whose text may have CONFIG_LENGTH characters


def columns(table: str, names: Iterable[str]) -> str:
    return ", ".join(cut(f"{table}.{name}", CONFIG_LENGTH if name in LONG else TEXT_LENGTH) for name in names)


_PROBLEM = len(Problem._fields)
PROBLEM_COLUMNS = columns("p", Problem._fields)
LAYER_COLUMNS = columns("s", ("suite", "suite_id", "op", *Problem._fields[4:]))
_OWN = ", ".join(
    cut({"kernel": "k.name", "kernel_hash": "k.hash"}[name])
    if name in {"kernel", "kernel_hash"}
    else columns("r", [name])
    for name in Record._fields[1:]
)
# Reads the tables and not the view `winners`: a file from elsewhere may have any view of that name.
RECORD_SELECT = (
    f"SELECT {PROBLEM_COLUMNS}, {_OWN} FROM problems AS p "  # noqa: S608 (column names of our own)
    "JOIN records AS r ON r.problem_id = p.id JOIN kernels AS k ON k.id = r.kernel_id"
)
CANDIDATE_SELECT = (
    f"SELECT {cut('k.name')}, {columns('m', ['config', *Measurement._fields])} FROM measurements AS m "  # noqa: S608 (column names of our own)
    "JOIN problems AS p ON p.id = m.problem_id JOIN kernels AS k ON k.id = m.kernel_id"
)


def record_from_row(row: Sequence[Any]) -> Record:
    """Return the record of a row of RECORD_SELECT.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    return checked_record(Record(Problem(*row[:_PROBLEM]), *row[_PROBLEM:]))


def checked_record(record: Record) -> Record:
    """Return the record itself if it may be stored and used.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    for name in (
        "device",
        "kernel",
        "config",
        "provenance",
        "kernel_hash",
        "triton",
        "torch",
        "cudnn",
        "driver",
        "tuned_at",
    ):
        check_text(name, getattr(record, name), CONFIG_LENGTH if name == "config" else TEXT_LENGTH)
    if record.provenance not in PROVENANCES:
        raise RowError(f"provenance must be one of {', '.join(PROVENANCES)}, but got {record.provenance!r}.")
    for name in ("time_us", "floor_us", "time_us_low", "time_us_high", "aten_us"):
        if getattr(record, name) is not None or name in {"time_us", "floor_us"}:
            check_time(name, getattr(record, name), above=0 if name == "time_us" else None)
    for name in ("error", "aten_error"):
        if getattr(record, name) is not None:
            check_number(name, getattr(record, name))
    check_count("trials", record.trials)
    _checked_problem(record.problem)
    return record


def candidate_from_row(row: Sequence[Any]) -> Tried:
    """Return the candidate of a row of CANDIDATE_SELECT.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    kernel, config, *measured = row
    return checked_candidate(Tried(kernel, config, Measurement(*measured)))


def checked_candidate(candidate: Tried) -> Tried:
    """Return the candidate itself if it may be stored and used.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    measurement = candidate.measurement
    check_text("kernel", candidate.kernel)
    check_text("config", candidate.config, CONFIG_LENGTH)
    check_text("detail", measurement.detail)
    if measurement.status not in STATUSES:
        raise RowError(f"status must be one of {', '.join(STATUSES)}, but got {measurement.status!r:.80}.")
    for name in ("time_us", "time_us_low", "time_us_high"):
        if getattr(measurement, name) is not None:
            check_time(name, getattr(measurement, name))
    if measurement.error is not None:
        check_number("error", measurement.error)
    for name in ("shared", "registers", "spills", "rounds", "late", "clock_mhz"):
        if getattr(measurement, name) is not None:
            check_count(name, getattr(measurement, name))
    return candidate


def printable_line(text: str) -> str:
    """Return text that may be stored: unprintable characters become spaces, and it ends after TEXT_LENGTH characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:TEXT_LENGTH]


def checked_distribution(text: Any) -> str:
    """Return the distribution of a kernel itself if it may be stored and shown.

    Raises RowError: where it is no printable text or too long.
    """
    check_text("distribution", text)
    return str(text)


def distribution_from_row(row: Sequence[Any]) -> tuple[str, str, str]:
    """Return name and hash of a kernel, and the distribution that it comes from; "" where that is not known.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    name, code, text = row
    check_text("kernel", name)
    check_text("kernel_hash", code)
    return name, code, checked_distribution(text)


def device_from_row(row: Sequence[Any]) -> tuple[str, str, int]:
    """Return slug, full name and compute capability of a row of the table devices.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    slug, name, capability = row
    check_text("slug", slug)
    check_text("name of a device", name)
    check_count("capability", capability)
    return slug, name, capability


def problem_from_row(row: Sequence[Any]) -> Problem:
    """Return the problem of a row of PROBLEM_COLUMNS.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    return _checked_problem(Problem(*row))


def layer_from_row(row: Sequence[Any]) -> tuple[str, str, Problem]:
    """Return suite, id and problem of a row of the table suites; dtype, precision and layout stand for any.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    suite, suite_id, op, *sizes = row
    check_text("suite", suite)
    check_text("suite_id", suite_id)
    return suite, suite_id, _checked_problem(Problem(op, "float32", "ieee", "channels_first", *sizes))


def _checked_problem(problem: Problem) -> Problem:
    for name in ("op", "dtype", "precision", "layout"):
        check_text(name, getattr(problem, name))
    for name in Problem._fields[4:]:
        check_count(name, getattr(problem, name))
    try:
        return checked(problem)
    except ProblemError as error:
        raise RowError(str(error)) from error


def to_result(record: Record, top: Iterable[Tried]) -> dict[str, Any]:
    """Return a record and its best few candidates as JSON data, as a search history keeps them."""
    finalists = [[kernel, config, measurement._asdict()] for kernel, config, measurement in top]
    return {"record": {**record._asdict(), "problem": record.problem._asdict()}, "top": finalists}


def from_result(result: Mapping[str, Any]) -> tuple[Record, list[Tried]]:
    """Return what to_result was given, by this tunedb or by an older or newer one.

    A field that is missing gets its default. An unknown field of a record or a measurement is ignored with a
    TunedbWarning, since it only says more about the same answer. An unknown field of a problem is refused, since
    without it the answer would be taken for one of another problem.
    Raises RowError: where the result cannot be used.
    """
    try:
        given = result["record"]
        problem = _filled(Problem, given["problem"], refuse=True)
        record = _filled(Record, {**given, "problem": problem}, _NOT_KNOWN)
        top = [
            Tried(kernel, config, _filled(Measurement, measured))
            for kernel, config, measured in result["top"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(
            f"a result of a search history must have a record with its problem, and candidates, but reading it gives {error!r:.80}."
        ) from error
    return record, top


# What an older history may lack of a record: facts that help to judge an answer and are not part of it.
_NOT_KNOWN: dict[str, Any] = {
    **dict.fromkeys(("time_us_low", "time_us_high", "aten_us", "error", "aten_error")),
    **dict.fromkeys(("triton", "torch", "cudnn", "driver"), ""),
}


def _filled(
    kind: Any,
    given: Mapping[str, Any],
    absent: Mapping[str, Any] = MappingProxyType({}),
    *,
    refuse: bool = False,
) -> Any:
    """Return a NamedTuple with the given fields, and with defaults for the others."""
    known = {**kind._field_defaults, **absent, **given}
    if missing := [name for name in kind._fields if name not in known]:
        raise RowError(
            f"a {kind.__name__} of a search history must have {', '.join(missing)}, but does not: search again."
        )
    if unknown := [name for name in given if name not in kind._fields]:
        names = printable_line(", ".join(map(str, unknown)))
        if refuse:
            raise RowError(
                f"a {kind.__name__} of a search history must have no fields but {', '.join(kind._fields)}, but has {names}: update tunedb."
            )
        # Python shows a warning of the same text and line once.
        warnings.warn(
            f"Fields of a newer tunedb in the search history are ignored ({kind.__name__}: {names}): update tunedb.",
            TunedbWarning,
            stacklevel=2,
        )
    return kind(**{name: known[name] for name in kind._fields})
