"""What is in the databases, as text for people: `tunedb ls` and `tunedb show`."""

from collections import Counter
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from typing import NamedTuple

from tunedb.describe import counted, describe, micros, table, versions
from tunedb.device import by_slug
from tunedb.errors import DeviceError, SuiteError, quoted
from tunedb.kernel import is_stale
from tunedb.problem import Problem
from tunedb.record import Record, Tried, tied
from tunedb.store.files import databases
from tunedb.store.profile import Profile, limit
from tunedb.store.read import Database
from tunedb.suite import Entry, load_suite, shipped_suites

__all__ = ["Count", "Shown", "count", "counts_table", "find", "show", "shown_text"]


class Count(NamedTuple):
    """The records of a file for a device and an operation."""

    path: Path
    device: str
    op: str
    records: int
    measured: int
    predicted: int  # or by proxy
    wins: int  # records whose kernel is not aten and which have aten's time
    speedup: float | None  # geometric mean of aten's time over the record's, both of the same run
    stale: int


class Shown(NamedTuple):
    path: Path
    record: Record
    top: list[Tried]
    distribution: str  # that the kernel comes from, "tunedb 0.1.0"; empty where it is not known
    profile: Profile | None = None  # of this very winner

    @property
    def sm_count(self) -> int:
        try:
            return by_slug(self.record.device).sm_count
        except DeviceError:  # a GPU that is neither in the catalogue nor here
            return 0


def count(paths: Sequence[Path] | None = None) -> list[Count]:
    """Return what is in each file, the file that answers first in front.

    Raises DatabaseError: where a file cannot be read.
    """
    found = []
    for path in databases() if paths is None else paths:
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in _all(path):
            groups.setdefault((record.device, record.problem.op), []).append(record)
        found += [_count(path, device, op, records) for (device, op), records in sorted(groups.items())]
    return found


def counts_table(counts: Sequence[Count]) -> str:
    """Return the counts as text, one block a file."""
    blocks = []
    heads = ("device", "op", "records", "measured", "predicted", "beat aten", "speed-up", "stale")
    for path in dict.fromkeys(row.path for row in counts):
        rows = [
            (
                row.device, row.op, str(row.records), str(row.measured), str(row.predicted),
                "" if row.speedup is None else str(row.wins),
                "" if row.speedup is None else f"{row.speedup:.2f}", str(row.stale),
            )
            for row in counts
            if row.path == path
        ]  # fmt: skip
        blocks.append(f"{path}\n{table(heads, rows)}")
    return "\n\n".join(blocks)


def find(name: str, paths: Sequence[Path] | None = None) -> list[Problem]:
    """Return the sizes that an id stands for in the shipped suites and in the files' own.

    Raises SuiteError: where none has it. Raises DatabaseError: where a file cannot be read.
    """
    found: dict[Problem, None] = {}
    for suite in shipped_suites():
        found |= {entry.problem(): None for entry in load_suite(suite) if entry.id == name}
    for path in databases() if paths is None else paths:
        file = Database(path)
        try:
            found |= {problem: None for _, suite_id, problem in file.suites() if suite_id == name}
        finally:
            file.close()
    if not found:
        raise SuiteError(
            f"an id must stand in a suite ({', '.join(shipped_suites())}, or one that was swept), but got {quoted(name)}."
        )
    return list(found)


def show(
    sizes: Problem | Entry, paths: Sequence[Path] | None = None, device: str | None = None
) -> list[Shown]:
    """Return the records of a layer in every dtype, precision and layout, with the best few of their sweeps.

    Raises DatabaseError: where a file cannot be read.
    """
    problem = sizes.problem() if isinstance(sizes, Entry) else sizes
    found = []
    for path in databases() if paths is None else paths:
        file = Database(path)
        try:
            records = [record for record in file.sizes(problem) if device in {None, record.device}]
            known = file.distributions()
            found += [
                Shown(
                    path, record, file.top(record.problem, record.device),
                    known.get((record.kernel, record.kernel_hash), ""), file.profile(record),
                )
                for record in records
            ]  # fmt: skip
        finally:
            file.close()
    return found


def shown_text(found: Shown) -> str:
    """Return a record with its candidates as text."""
    record = found.record
    heads = ("rank", "time us", "low", "high", "error", "registers", "spills", "shared", "kernel", "config")
    among = {one.choice for one in tied(found.top)} if len(tied(found.top)) > 1 else set()
    rows = [
        (f"{rank}{' tied' if candidate.choice in among else ''}", *map(_number, candidate.measurement[1:4]), _number(candidate.measurement.error, ".1e"),
         *map(_number, (candidate.measurement.registers, candidate.measurement.spills, candidate.measurement.shared)),
         candidate.kernel, candidate.config)
        for rank, candidate in enumerate(found.top, 1)
    ]  # fmt: skip
    speedup = ""
    if record.aten_us is not None and record.provenance == "measured":
        speedup = f", aten {micros(record.aten_us)} ({record.aten_us / record.time_us:.2f} times)"
    elif record.aten_us is not None:
        speedup = f" expected, torch's {micros(record.aten_us)}"
    stale = ", stale: its kernel has changed" if is_stale(record.kernel, record.kernel_hash) else ""
    made_with = versions(record.triton, record.torch, record.cudnn, record.driver)
    if found.distribution:
        made_with = f"kernel of {found.distribution}" + (f", {made_with}" if made_with else "")
    lines = [
        describe(record.problem),
        f"  {record.device}, {record.provenance}{stale}: {record.kernel} {micros(record.time_us)}{speedup}, floor {micros(record.floor_us)}",
        f"  config {record.config}, error {_number(record.error, '.1e') or 'unknown'}, aten's {_number(record.aten_error, '.1e') or 'unknown'}",
        f"  {counted(record.trials, 'trial')} at {record.tuned_at}; {made_with or 'versions unknown'}",
        f"  in {found.path}",
    ]
    if found.profile is not None:
        lines.insert(
            3, f"  {limit(found.profile.longest, found.sm_count)} (ncu, {found.profile.profiled_at})"
        )
    return "\n".join([*lines, *(f"  {line}" for line in table(heads, rows).splitlines() if rows)])


def _all(path: Path) -> list[Record]:
    file = Database(path)
    try:
        return file.records()
    finally:
        file.close()


def _count(path: Path, device: str, op: str, records: list[Record]) -> Count:
    provenances = Counter(record.provenance for record in records)
    timed = [record for record in records if record.provenance == "measured"]
    ratios = [log(record.aten_us / record.time_us) for record in timed if record.aten_us]
    return Count(
        path, device, op, len(records), provenances["measured"], len(records) - provenances["measured"],
        sum(record.kernel != "aten" and record.aten_us is not None for record in timed),
        exp(sum(ratios) / len(ratios)) if ratios else None, sum(is_stale(record.kernel, record.kernel_hash) for record in records),
    )  # fmt: skip


def _number(value: float | None, form: str = "") -> str:
    if value is None:
        return ""
    return format(value, form or (".1f" if isinstance(value, float) else "d"))
