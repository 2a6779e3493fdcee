"""The settings of a sweep: one NamedTuple, passed on whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tunedb.device import Device
from tunedb.errors import DatabaseError
from tunedb.problem import Problem
from tunedb.tune.gpu_process import Limits
from tunedb.tune.storage_url import shown
from tunedb.tune.workers import Parts

__all__ = ["TRIALS", "Settings"]

TRIALS = 40  # a problem, where nothing else is asked for

_PARTS = Parts()
_LIMITS = Limits()


class Settings(NamedTuple):
    """How problems are searched, where the answers go, and when to stop."""

    device: Device
    provenance: str  # "measured": one driver process for each of `gpus`; "predicted": one driver and no GPU
    trials: int | None  # a problem, in all; None: TRIALS, or, by gain, as many as pay
    storage: str  # search history: a journal file, or a URL if it contains "://"; "" for a confirmation, which has none
    db: Path  # database of the answers
    gpus: tuple[int, ...] = (0,)  # CUDA indices
    triton_db: Path | None = None  # second database, for the best answers that are not torch's own kernel
    workers: int | None = None  # compile processes a GPU; by default the cores are shared out
    deadline_s: float | None = None  # seconds after which the sweep stops as Ctrl-C does
    minutes: float | None = None  # search by gain, for so long: see schedule.py
    calls: Mapping[Problem, int] | None = None  # of one forward pass of a model, each 1 where it is not said
    collect: bool = False  # search nothing: write the answers that the history has to the databases
    parts: Parts = _PARTS
    limits: Limits = _LIMITS

    def __repr__(self) -> str:
        """Return what may be printed: without the passwords of the storage."""
        return f"Settings(device={self.device.slug!r}, provenance={self.provenance!r}, storage={shown(self.storage)!r}, db={str(self.db)!r})"

    @property
    def slots(self) -> list[int | None]:
        """The GPU of each driver process; None for the one driver of a predicted sweep."""
        return list(self.gpus) if self.provenance == "measured" else [None]

    @property
    def trials_each(self) -> int:
        """The trials of each problem, where all are searched alike."""
        return TRIALS if self.trials is None else self.trials

    def check(self) -> None:
        """Raise DatabaseError: where both databases are the same file."""
        if self.triton_db is not None and self.triton_db.resolve() == self.db.resolve():
            raise DatabaseError(
                f"triton_db must be another file than db, whose answers may be torch's, but both are {self.db}: name another file."
            )
