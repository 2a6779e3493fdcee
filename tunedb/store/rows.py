"""How records become rows of a database and results of a search history, and come back from them.

Values are checked before they are written, and again after they were read: a file may hold anything.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunedb.errors import DatabaseError, ProblemError, TunedbWarning
from tunedb.problem import Problem, checked
from tunedb.record import PROVENANCES, STATUSES, Measurement, Record, Tried

__all__ = [
    "CANDIDATE_SELECT",
    "LARGEST",
    "RECORD_SELECT",
    "RowError",
    "candidate_from_row",
    "checked_candidate",
    "checked_distribution",
    "checked_record",
    "from_result",
    "layer_from_row",
    "printable_line",
    "record_from_row",
    "to_result",
]

CONFIG_LENGTH = 4096  # characters
TEXT_LENGTH = 200  # characters, of every other text
LARGEST = (
    1 << 48
)  # of any size: more than a GPU holds, and products of a few of them are still computed quickly


class RowError(DatabaseError):
    """A row cannot be used. The reader skips it and uses the others."""


_PROBLEM = len(Problem._fields)
_OWN = ", ".join(
    {"kernel": "k.name", "kernel_hash": "k.hash"}.get(name, f"r.{name}") for name in Record._fields[1:]
)
# Reads the tables and not the view `winners`: a file from elsewhere may have any view of that name.
RECORD_SELECT = (
    f"SELECT {', '.join(f'p.{name}' for name in Problem._fields)}, {_OWN} FROM problems AS p "  # noqa: S608 (column names of our own)
    "JOIN records AS r ON r.problem_id = p.id JOIN kernels AS k ON k.id = r.kernel_id"
)
CANDIDATE_SELECT = (
    f"SELECT k.name, m.config, {', '.join(f'm.{name}' for name in Measurement._fields)} FROM measurements AS m "  # noqa: S608 (column names of our own)
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
        _text(name, getattr(record, name), CONFIG_LENGTH if name == "config" else TEXT_LENGTH)
    if record.provenance not in PROVENANCES:
        raise RowError(f"provenance must be one of {', '.join(PROVENANCES)}, but got {record.provenance!r}.")
    _number("time_us", record.time_us, above=0)
    _number("floor_us", record.floor_us)
    for name in ("time_us_low", "time_us_high", "aten_us", "error", "aten_error"):
        if getattr(record, name) is not None:
            _number(name, getattr(record, name))
    _count("trials", record.trials)
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
    _text("kernel", candidate.kernel, TEXT_LENGTH)
    _text("config", candidate.config, CONFIG_LENGTH)
    _text("detail", measurement.detail, TEXT_LENGTH)
    if measurement.status not in STATUSES:
        raise RowError(f"status must be one of {', '.join(STATUSES)}, but got {measurement.status!r:.80}.")
    for name in ("time_us", "time_us_low", "time_us_high", "error"):
        if getattr(measurement, name) is not None:
            _number(name, getattr(measurement, name))
    for name in ("shared", "registers", "spills"):
        if getattr(measurement, name) is not None:
            _count(name, getattr(measurement, name))
    return candidate


def printable_line(text: str) -> str:
    """Return text that may be stored: unprintable characters become spaces, and it ends after TEXT_LENGTH characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:TEXT_LENGTH]


def checked_distribution(text: Any) -> str:
    """Return the distribution of a kernel itself if it may be stored and shown.

    Raises RowError: where it is no printable text or too long.
    """
    _text("distribution", text, TEXT_LENGTH)
    return str(text)


def layer_from_row(row: Sequence[Any]) -> tuple[str, str, Problem]:
    """Return suite, id and problem of a row of the table suites; dtype, precision and layout stand for any.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    suite, suite_id, op, *sizes = row
    _text("suite", suite, TEXT_LENGTH)
    _text("suite_id", suite_id, TEXT_LENGTH)
    return suite, suite_id, _checked_problem(Problem(op, "float32", "ieee", "channels_first", *sizes))


def _checked_problem(problem: Problem) -> Problem:
    for name in ("op", "dtype", "precision", "layout"):
        _text(name, getattr(problem, name), TEXT_LENGTH)
    for name in Problem._fields[4:]:
        _count(name, getattr(problem, name))
    try:
        return checked(problem)
    except ProblemError as error:
        raise RowError(str(error)) from error


def _text(name: str, value: Any, length: int) -> None:
    # Unprintable characters could send commands to the terminal of a person who lists the file.
    if not isinstance(value, str) or len(value) > length or not value.isprintable():
        raise RowError(
            f"{name} must be printable text of at most {length} characters, but got {value!r:.80}."
        )


def _number(name: str, value: Any, above: float | None = None) -> None:
    # The comparison is false for NaN, and unlike math.isfinite it accepts integers of any length.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < LARGEST or value == above:
        least = "above 0" if above == 0 else "of at least 0"
        raise RowError(f"{name} must be a finite number {least}, but got {value!r:.80}.")


def _count(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise RowError(f"{name} must be an integer from 0 to {LARGEST}, but got {value!r:.80}.")


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
