"""The table of trials: a CSV file, compressed, whose rows and bytes depend on nothing but what was measured.

The first line is a comment with the table's version. A row is one trial, or torch's own kernel (`kernel` is "aten"):

    device, the fields of the problem, kernel, config (JSON), kernel_hash, status, time_us, aten_us, registers, spills, run, models, source

`run` says where the time comes from: "final" (the last run of a search, in turn with torch), "search" (a trial), or "look"
(torch alone, before a search). `models` are the models or suites that have the layer, joined by " | ". `aten_us` is torch's time
where the problem was searched; times are microseconds. `registers` a thread and `spills`, bytes of local memory a thread, are what the
compiler said; of older sweeps they are empty. Of several times of torch the least stands: a busy host only adds.
`status` is that of the trial, or "doubtful" where the search timed its host. `source` is the file that the row was read from.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tunedb.problem import Problem, checked

__all__ = ["DOUBTFUL", "VERSION", "Row", "read", "write"]

VERSION = 2
DOUBTFUL = "doubtful"
HEAD = f"# tunedb trials, version {VERSION}"
RUNS = ("final", "search", "look")  # the most trustworthy first


class Row(NamedTuple):
    """One trial of one problem. `time_us` is None where it failed."""

    device: str
    problem: Problem
    kernel: str
    config: str
    kernel_hash: str  # empty where unknown: an older code than today's
    status: str
    time_us: float | None
    aten_us: float | None
    run: str
    models: tuple[str, ...]
    source: str
    registers: int | None = None  # None: the sweep did not keep it, or torch
    spills: int | None = None


COLUMNS = (
    "device", *Problem._fields, "kernel", "config", "kernel_hash", "status", "time_us", "aten_us", "registers", "spills", "run", "models", "source",
)  # fmt: skip


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write a table, each trial once. Returns its number of rows.

    Of two rows for one config the more trustworthy run's stands, a doubtful time last of all; of two alike the later. A problem has
    the models of all its rows: who adds to a table need not have all suites at hand.
    """
    rows = list(rows)
    kept: dict[tuple[str, Problem, str, str, str], Row] = {}
    for row in rows:
        trial = (row.device, row.problem, row.kernel, row.config, row.kernel_hash)
        known = kept.get(trial)
        if known is not None:
            row = with_resources(row, known) if _trust(row) >= _trust(known) else with_resources(known, row)  # noqa: PLW2901 (the one that stands)
        kept[trial] = row
    models: dict[Problem, set[str]] = {}
    for row in rows:
        models.setdefault(row.problem, set()).update(row.models)
    torch: dict[tuple[str, Problem], float] = {}
    searched = {(row.device, row.problem) for row in kept.values() if row.run != "look"}
    for row in rows:
        if row.kernel == "aten" and row.time_us is not None:
            key = (row.device, row.problem)
            torch[key] = min(torch.get(key, row.time_us), row.time_us)
    text = io.StringIO()
    text.write(f"{HEAD}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, found in sorted(kept.items()):
        aten_us = torch.get((found.device, found.problem))
        row = found._replace(aten_us=aten_us if (found.device, found.problem) in searched else None)
        if row.kernel == "aten":
            row = row._replace(time_us=aten_us)
        times = ("" if time is None else f"{time:.5g}" for time in (row.time_us, row.aten_us))
        resources = ("" if one is None else one for one in (row.registers, row.spills))
        writer.writerow(
            (row.device, *row.problem, row.kernel, row.config, row.kernel_hash, row.status, *times, *resources, row.run, " | ".join(sorted(models[row.problem])), row.source)
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a time of its own the same rows give the same bytes.
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    return len(kept)


def with_resources(row: Row, other: Row) -> Row:
    """Return a row with what the compiler said of the same code in another, where it does not say it itself."""
    if row.spills is not None or other.spills is None:
        return row
    return row._replace(registers=other.registers, spills=other.spills)


def _trust(row: Row) -> tuple[bool, int]:
    return row.status != DOUBTFUL, -RUNS.index(row.run)


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a table.

    Raises ValueError: for a file that is no table of this version. Raises ProblemError: for an impossible problem.
    """
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    if not lines or lines[0] != HEAD:
        raise ValueError(f"{path} must begin with {HEAD!r}: make it again with scripts/keep_trials.py.")
    for row in csv.DictReader(lines[1:]):
        problem = checked(
            Problem(
                *(row[name] if name in Problem._fields[:4] else int(row[name]) for name in Problem._fields)
            )  # type: ignore[arg-type]
        )
        times = (float(row[name]) if row[name] else None for name in ("time_us", "aten_us"))
        yield Row(
            row["device"], problem, row["kernel"], row["config"], row["kernel_hash"], row["status"], *times, row["run"],
            tuple(row["models"].split(" | ")) if row["models"] else (), row["source"],
            *(int(row[name]) if row[name] else None for name in ("registers", "spills")),
        )  # fmt: skip
