"""Counts what limits the winners of problems, with ncu, and keeps it beside their records."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tunedb.device import Device
from tunedb.errors import DatabaseError, DeviceError
from tunedb.kernel import is_stale
from tunedb.measure import ncu
from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.store import files
from tunedb.store.profile import Profile
from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.tune.selection import Target

__all__ = ["BATCH", "gpu_here", "profile", "winners"]

BATCH = 10  # calls of one process: what a crash costs, and how often something is written


class _Winner(NamedTuple):
    record: Record
    file: Database


def gpu_here(goal: Target) -> tuple[Device, int]:
    """Return the GPU of this machine and its CUDA index. Raises DeviceError: where there is none."""
    if goal.provenance != "measured":
        raise DeviceError(
            f"profile must run on the GPU whose counters it reads, but this machine has no {goal.device.slug}."
        )
    return goal.device, goal.gpus[0]


def winners(problems: Iterable[Problem], device: Device, db: Path | None = None) -> list[_Winner]:
    """Return the fresh records of these problems on a device that a kernel of tunedb won, from the first file that has one.

    Raises DatabaseError: where `db` cannot be read, or where no problem has such a record.
    """
    sources = files.opened(device.slug) if db is None else [Database(db)]
    found = []
    for problem in problems:
        own = ((file.record(problem, device.slug), file) for file in sources)
        first = next(((record, file) for record, file in own if record is not None), None)
        if first and first[0].kernel != "aten" and not is_stale(first[0].kernel, first[0].kernel_hash):
            found.append(_Winner(*first))
    if not found:
        raise DatabaseError(
            f"at least one problem must have a fresh record on {device.slug} that a kernel of tunedb won, but none has: sweep first."
        )
    return found


def profile(chosen: Sequence[_Winner], target: Path, gpu: int = 0) -> Iterator[tuple[Record, Profile | None]]:
    """Count the launches of each winner, write them to the database `target`, and yield them as they come.

    A record that `target` lacks is written with its profile. None: the call failed, or its process died.
    Raises DeviceError: where ncu cannot count. DatabaseError: where `target` cannot be written.
    """
    made_by = ncu.version()
    for begin in range(0, len(chosen), BATCH):
        batch = chosen[begin : begin + BATCH]
        jobs = [(one.record.kernel, one.record.problem, one.record.config) for one in batch]
        for one, launches in zip(batch, ncu.counted(jobs, gpu), strict=True):
            if not launches:
                yield one.record, None
                continue
            own = one.record
            now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            found = Profile(
                own.problem, own.device, own.kernel, own.config, own.kernel_hash, launches, made_by, now
            )
            _keep(found, one, target)
            yield one.record, found


def _keep(found: Profile, winner: _Winner, target: Path) -> None:
    with Store(target) as store:
        if not store.put_profile(found):
            record = winner.record
            store.put(record, winner.file.top(record.problem, record.device))
            store.put_profile(found)
