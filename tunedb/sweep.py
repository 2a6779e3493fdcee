"""A sweep: problems in, records out, over one process a GPU."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunedb.children import Parts
from tunedb.device import Device
from tunedb.problem import Problem
from tunedb.progress import Progress, Summary

__all__ = ["sweep"]


def sweep(
    problems: Sequence[Problem],
    *,
    device: Device,
    provenance: str,
    trials: int,
    gpus: Sequence[int] = (0,),
    storage: str,
    db: Path,
    workers: int | None = None,
    deadline_s: float | None = None,
    labels: Mapping[Problem, str] | None = None,
    progress: Progress | None = None,
    parts: Parts = Parts(),
) -> Summary:
    """Tune every problem, write its record to `db` as soon as it is known, and return what it came to.

    `provenance` is "measured", with one driver for each of `gpus`, or "predicted", with one driver and no GPU.
    `storage` is a journal file, or an RDB URL if it contains "://". `workers` are compile processes a GPU;
    by default the cores are shared out. After `deadline_s` seconds it stops as Ctrl-C does: every finished
    trial is kept and the next sweep goes on there. `labels` are names for people.
    Raises StorageError, DatabaseError: where the history or the database cannot be opened.
    """
    raise NotImplementedError
