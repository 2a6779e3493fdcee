"""A report as text, as wide as the terminal: the columns that matter least are left out first."""

from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

from tunedb.describe import describe, micros, table
from tunedb.model.database_report import DatabaseReport, Group, Named
from tunedb.model.report import Report, Row
from tunedb.model.report_words import counted, gain, printable, rest, speedup, trust

__all__ = ["report_text"]


class Column(NamedTuple):
    """A column; the one of the highest `leave` is left out first, and one of 0 never is."""

    head: str
    cells: list[str]
    leave: int


def report_text(found: Report | DatabaseReport, width: int | None = None) -> str:
    """Return a report as text of at most `width` columns as far as that can be; None for any width."""
    return _suite(found, width) if isinstance(found, Report) else _databases(found, width)


def _suite(found: Report, width: int | None) -> str:
    rows = sorted(found.rows, key=lambda row: -row.weight_us)
    here = "" if found.here else ", which is not in this machine"
    lines = [
        f"{printable(found.title) or 'layers'} on {found.device.slug} ({found.device.name}{here}), {found.date}",
        "",
        *gain(found.totals),
        *rest(found.totals),
        *trust(found),
    ]
    if not rows:
        return "\n".join(_wrapped(lines, width))
    columns = [
        Column("layer", [_cut(printable(row.name), width) for row in rows], 0),
        Column("shapes", [describe(row.problem) for row in rows], 9),
        Column("calls", [str(row.calls) for row in rows], 1),
        Column("floor", [micros(row.floor_us) for row in rows], 5),
        Column("torch", [micros(row.torch_us) for row in rows], 2),
        Column("tunedb", [micros(row.tunedb_us) for row in rows], 2),
        Column("saved a pass", [_saved(row) for row in rows], 0),
        Column("state", [row.state for row in rows], 3),
        Column("tier", [row.tier for row in rows], 7),
        Column("kernel", [row.kernel for row in rows], 6),
        Column("rests on", [_source(row) for row in rows], 4),
    ]
    notes = [
        "",
        "Times of one call, the layer that takes most of a pass first. ~ marks an estimate, which is no expectation.",
    ]
    return "\n".join([*_wrapped(lines, width), "", *_fitted(columns, width), *_wrapped(notes, width)])


def _saved(row: Row) -> str:
    if row.saved_pass_us is not None:
        return micros(row.saved_pass_us) if row.saved_pass_us else "0"
    return "unknown" if row.estimated_saved_pass_us is None else f"~{micros(row.estimated_saved_pass_us)}"


def _source(row: Row) -> str:
    return (
        f"{row.rests_on}: {row.provenance} on {row.record_device}"
        if row.rests_on == "borrowed"
        else row.rests_on or "nothing"
    )


def _databases(found: DatabaseReport, width: int | None) -> str:
    total = found.totals
    files = "1 file" if len(found.paths) == 1 else f"{len(found.paths)} files"
    lines = [
        f"{found.title or 'databases'}, {files}, {found.date}",
        *(f"  {path}" for path in found.paths),
        "",
        f"{counted(total.records, 'record')}, {total.compared} of them compared with torch: {speedup(total.speedup)} (geometric mean), torch's own kernel won {total.torch_kernel}; {total.stale} stale",
        *(f"versions: {text}" for text in found.versions),
    ]
    lines = _wrapped(lines, width)
    if found.groups:
        lines += ["", *_fitted(_groups(found.groups), width)]
    for head, members in (("best", found.best), ("worst", found.worst)):
        if members:
            lines += [
                "",
                *_wrapped([f"The {head} {len(members)} by speed-up over torch:"], width),
                *_fitted(_members(members), width),
            ]
    return "\n".join(lines)


def _groups(groups: Sequence[Group]) -> list[Column]:
    return [
        Column("device", [one.device for one in groups], 0),
        Column("op", [one.op for one in groups], 0),
        Column("dtype", [one.dtype for one in groups], 0),
        Column("precision", [one.precision for one in groups], 9),
        Column("layout", [one.layout for one in groups], 3),
        Column("provenance", [one.provenance for one in groups], 4),
        Column("records", [str(one.records) for one in groups], 1),
        Column("speed-up", [f"{one.speedup:.2f}" if one.speedup else "" for one in groups], 1),
        Column("of the floor", [f"{one.floor_share:.0%}" if one.floor_share else "" for one in groups], 5),
        Column("torch's kernel", [str(one.torch_kernel) for one in groups], 7),
        Column("stale", [str(one.stale) for one in groups], 6),
    ]


def _members(members: Sequence[Named]) -> list[Column]:
    return [
        Column("speed-up", [f"{one.speedup:.2f}" for one in members], 0),
        Column("device", [one.record.device for one in members], 5),
        Column("torch", [micros(one.record.aten_us) for one in members], 2),
        Column("record", [micros(one.record.time_us) for one in members], 2),
        Column("floor", [micros(one.record.floor_us) for one in members], 6),
        Column("kernel", [one.record.kernel for one in members], 4),
        Column("problem", [one.names[0] if one.names else one.record.problem.op for one in members], 0),
        Column("shapes", [describe(one.record.problem) for one in members], 8),
    ]


def _cut(name: str, width: int | None) -> str:
    """Return a name of at most a third of the width: its end, which says most."""
    most = len(name) if width is None else max(12, min(48, width // 3))
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _wrapped(lines: Sequence[str], width: int | None) -> list[str]:
    if width is None:
        return list(lines)
    return [
        part
        for line in lines
        for part in (
            wrap(line, max(width, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
            or [""]
        )
    ]


def _fitted(columns: Sequence[Column], width: int | None) -> list[str]:
    """Return the lines of a table; where that is too wide columns are left out, and at last cells are cut."""
    kept, left = list(columns), []
    while width is not None and _width(kept) > width and max(column.leave for column in kept):
        worst = max(kept, key=lambda column: column.leave)
        kept.remove(worst)
        left.append(worst.head)
    lines = table(
        [column.head for column in kept], list(zip(*(column.cells for column in kept), strict=True))
    ).splitlines()
    if width is not None:
        lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    if left:
        lines += _wrapped(
            [f"Left out in this width: {', '.join(reversed(left))}. --json and --html have everything."],
            width,
        )
    return lines


def _width(columns: Sequence[Column]) -> int:
    return sum(max(map(len, [column.head, *column.cells])) for column in columns) + 2 * (len(columns) - 1)
