"""A suite is a named list of problems: a JSON file, in which every mistake has a line."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from tunedb.errors import ProblemError, SuiteError
from tunedb.problem import LAYOUTS, OPS, Problem, checked, rank
from tunedb.suites.records import records

__all__ = ["DEFAULT_DTYPES", "Entry", "load_suite", "problems", "shipped_suites"]

SHOWN = 20  # errors of a file that are named; the rest is counted
LONGEST_TEXT = 200
MOST_CALLS = 10**9
DEFAULT_DTYPES = ("float32", "float16")
_VARIANT = ("dtype", "precision", "layout")
_LISTS = {
    "spatial_in": 1,
    "kernel": 1,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
}  # least value
_COUNTS = {"n": 0, "c_in": 1, "c_out": 1, "groups": 1}


class Entry(NamedTuple):
    """One convolution of a suite. Sizes have the operation's own rank.

    An entry of a captured suite says in which dtype, precision and layout a model asks for it, how often in one forward
    pass, and by which modules. Elsewhere `dtype`, `precision` and `layout` are None: it stands for all of them.
    """

    id: str
    line: int  # where it begins in its file
    op: str
    n: int
    c_in: int
    spatial_in: tuple[int, ...]
    c_out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    dtype: str | None = None
    precision: str | None = None
    layout: str | None = None
    calls: int = 1
    modules: tuple[str, ...] = ()

    @property
    def captured(self) -> bool:
        """Whether it says itself in which dtype, precision and layout it is asked for."""
        return self.dtype is not None

    def problem(
        self, dtype: str | None = None, precision: str | None = None, layout: str | None = None
    ) -> Problem:
        """Return it as a problem; missing dimensions come first.

        What is not given is the entry's own, or float32, ieee and channels_first.
        """
        dtype = dtype or self.dtype or "float32"
        precision = precision or self.precision or "ieee"
        layout = layout or self.layout or "channels_first"
        lead = 3 - len(self.kernel)
        ones, zeros = (1,) * lead, (0,) * lead
        return Problem(
            self.op, dtype, precision, layout, self.n, self.c_in, self.c_out, self.groups, int(self.bias),
            *ones, *self.spatial_in, *ones, *self.kernel, *ones, *self.stride, *zeros, *self.padding,
            *zeros, *self.output_padding, *ones, *self.dilation,
        )  # fmt: skip


_REQUIRED = tuple(name for name in Entry._fields if name != "line" and name not in Entry._field_defaults)


def shipped_suites() -> tuple[str, ...]:
    """Return the names of the suites that come with tunedb."""
    names = (entry.name for entry in files("tunedb.suites").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def load_suite(name_or_path: str | Path) -> list[Entry]:
    """Return the entries of a shipped suite, by name, or of a user's file.

    Raises SuiteError: where there is none, or with every error of the file, each with its line.
    """
    text, source = _text(name_or_path)
    errors: list[tuple[int, str]] = []
    entries = [
        entry for line, record in records(text, errors) if (entry := _entry(line, record, errors)) is not None
    ]
    first: dict[str, int] = {}
    for entry in entries:
        if entry.id in first:
            errors.append(
                (entry.line, f"id must be unique, but {entry.id!r} stands in line {first[entry.id]} already.")
            )
        first.setdefault(entry.id, entry.line)
    if errors:
        named = "".join(f"\n  line {line}: {what}" for line, what in sorted(errors)[:SHOWN])
        more = f"\n  and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise SuiteError(
            f"a suite must be a JSON list of problems, but {source} has errors; mend these lines:{named}{more}"
        )
    return entries


def problems(
    entries: Iterable[Entry],
    dtypes: Sequence[str] | None = None,
    layouts: Sequence[str] | None = None,
    precision: str | None = None,
) -> list[Problem]:
    """Return each entry in each dtype and layout, without repetition.

    What is not given is a captured entry's own, and for any other float32 and float16, all layouts, and tf32.
    channels_last is for two and three dimensions only: torch has no such memory format for one.
    `precision` is that of float32; 16-bit types are always "ieee".
    """
    found: dict[Problem, None] = {}
    for entry in entries:
        own = entry.precision if entry.dtype == "float32" else None
        for dtype in dtypes or ((entry.dtype,) if entry.dtype else DEFAULT_DTYPES):
            for layout in layouts or ((entry.layout,) if entry.layout else LAYOUTS):
                if layout != "channels_last" or rank(entry.op) > 1:
                    found[
                        entry.problem(
                            dtype, (precision or own or "tf32") if dtype == "float32" else "ieee", layout
                        )
                    ] = None
    return list(found)


def _text(name_or_path: str | Path) -> tuple[str, str]:
    if str(name_or_path) in shipped_suites():
        return files("tunedb.suites").joinpath(f"{name_or_path}.json").read_text(encoding="utf-8"), str(
            name_or_path
        )
    path = Path(name_or_path)
    known = ", ".join(shipped_suites())
    if not path.is_file():
        raise SuiteError(f"suite must be one of {known} or a JSON file, but got {str(name_or_path)!r}.")
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(
            f"a suite must be a readable UTF-8 file, but reading {path} gives: {error}."
        ) from error


def _entry(line: int, record: Mapping[str, Any], errors: list[tuple[int, str]]) -> Entry | None:
    wrong = list(_mistakes(record))
    name = record.get("id")
    named = f"{name}: " if isinstance(name, str) and name.isprintable() else ""
    entry = None
    if not wrong:
        values: dict[str, Any] = {name: record[name] for name in Entry._fields if name in record}
        lists = {name: tuple(values[name]) for name in (*_LISTS, "modules") if name in values}
        entry = Entry(**{**values, **lists, "line": line})
        try:
            checked(entry.problem())
        except ProblemError as error:
            wrong.append(str(error))
    errors.extend((line, f"{named}{what}") for what in wrong)
    return None if wrong else entry


def _mistakes(record: Mapping[str, Any]) -> Iterable[str]:
    missing = [field for field in _REQUIRED if field not in record]
    if missing:
        yield f"a record must have {', '.join(missing)}, but has only {', '.join(record) or 'nothing'}."[:500]
        return
    name, op = record["id"], record["op"]
    if not isinstance(name, str) or not name or len(name) > LONGEST_TEXT or not name.isprintable():
        yield f"id must be printable text of 1 to {LONGEST_TEXT} characters, but got {name!r:.80}."
    if op not in OPS:
        yield f"op must be one of {', '.join(OPS)}, but got {op!r:.80}."
    for field, least in _COUNTS.items():
        if type(record[field]) is not int or record[field] < least:
            yield f"{field} must be an integer of at least {least}, but got {record[field]!r:.80}."
    if type(record["bias"]) is not bool:
        yield f"bias must be true or false, but got {record['bias']!r:.80}."
    for field, least in _LISTS.items():
        value = record[field]
        sound = isinstance(value, list) and all(type(size) is int and size >= least for size in value)
        if op in OPS and (not sound or len(value) != rank(op)):
            yield f"{field} must be a list of {rank(op)} integers of at least {least}, but got {value!r:.80}."
    variant = [name for name in _VARIANT if record.get(name) is not None]
    if variant and len(variant) < len(_VARIANT):
        yield f"a record must have all of {', '.join(_VARIANT)} or none, but has only {', '.join(variant)}."
    for field in variant:
        if not isinstance(record[field], str):
            yield f"{field} must be text, but got {record[field]!r:.80}."
    calls, modules = record.get("calls", 1), record.get("modules", [])
    if type(calls) is not int or not 1 <= calls <= MOST_CALLS:
        yield f"calls must be an integer of 1 to {MOST_CALLS}, but got {calls!r:.80}."
    if not isinstance(modules, list) or not all(
        isinstance(name, str) and name.isprintable() for name in modules
    ):
        yield f"modules must be a list of names in printable text, but got {modules!r:.80}."
