"""A suite is a named list of problems: a JSON file, in which every mistake has a line."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from tunedb.errors import ProblemError, SuiteError, printable
from tunedb.problem import LAYOUTS, Problem, checked, rank
from tunedb.suites.fields import filled, mistakes
from tunedb.suites.file_text import file_text
from tunedb.suites.records import records

__all__ = ["DEFAULT_DTYPES", "Entry", "load_suite", "problems", "shipped_suites"]

SHOWN = 20  # errors of a file that are named; the rest is counted
MOST_ERRORS = 1000  # of a file that are looked for: each may take as long as reading the file
DEFAULT_DTYPES = ("float32", "float16")


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


def shipped_suites() -> tuple[str, ...]:
    """Return the names of the suites that come with tunedb."""
    names = (entry.name for entry in files("tunedb.suites").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def load_suite(name_or_path: str | Path) -> list[Entry]:
    """Return the entries of a shipped suite, by name, or of a user's file.

    The time is linear in the size of the file, which has a limit (`tunedb.suites.file_text.MOST_BYTES`).
    Raises SuiteError: where there is none, or with every error of the file, each with its line.
    """
    text, source = _text(name_or_path)
    errors: list[tuple[int, str]] = []
    entries: dict[str, Entry] = {}
    for line, record in records(text):
        if isinstance(record, str):
            errors.append((line, record))
        elif (entry := _entry(line, record, errors)) is not None:
            first = entries.setdefault(entry.id, entry)
            if first is not entry:
                errors.append(
                    (line, f"id must be unique, but {entry.id!r} stands in line {first.line} already.")
                )
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        named = "".join(f"\n  line {line}: {what}" for line, what in sorted(errors)[:SHOWN])
        least = "at least " if len(errors) >= MOST_ERRORS else ""
        more = f"\n  and {least}{len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise SuiteError(
            f"a suite must be a JSON list of problems, but {source} has errors; mend these lines:{named}{more}"
        )
    return list(entries.values())


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
    known = shipped_suites()
    if str(name_or_path) in known:
        shipped = files("tunedb.suites").joinpath(f"{name_or_path}.json")
        return shipped.read_text(encoding="utf-8"), str(name_or_path)
    return file_text(name_or_path, ", ".join(known)), printable(str(name_or_path), 400)


def _entry(line: int, record: Mapping[str, Any], errors: list[tuple[int, str]]) -> Entry | None:
    wrong = list(mistakes(record))
    entry = None
    if not wrong:
        entry = Entry(line=line, **filled(record))
        try:
            checked(entry.problem())
        except ProblemError as error:
            wrong.append(str(error))
    name = record.get("id")
    named = f"{printable(name, 80)}: " if isinstance(name, str) and name else ""
    errors.extend((line, f"{named}{what}") for what in wrong)
    return None if wrong else entry
