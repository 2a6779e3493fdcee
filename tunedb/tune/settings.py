"""The settings of a sweep: one NamedTuple, passed on whole."""

from pathlib import Path
from typing import NamedTuple

from tunedb.device import Device
from tunedb.errors import DatabaseError
from tunedb.tune.gpu_process import Limits
from tunedb.tune.workers import Parts

__all__ = ["Settings"]

_PARTS = Parts()
_LIMITS = Limits()


class Settings(NamedTuple):
    """How problems are searched, where the answers go, and when to stop."""

    device: Device
    provenance: str  # "measured": one driver process for each of `gpus`; "predicted": one driver and no GPU
    trials: int  # a problem
    storage: str  # search history: a journal file, or an RDB URL if it contains "://"
    db: Path  # database of the answers
    gpus: tuple[int, ...] = (0,)  # CUDA indices
    triton_db: Path | None = None  # second database, for the best answers that are not torch's own kernel
    workers: int | None = None  # compile processes a GPU; by default the cores are shared out
    deadline_s: float | None = None  # seconds after which the sweep stops as Ctrl-C does
    parts: Parts = _PARTS
    limits: Limits = _LIMITS

    @property
    def slots(self) -> list[int | None]:
        """The GPU of each driver process; None for the one driver of a predicted sweep."""
        return list(self.gpus) if self.provenance == "measured" else [None]

    def check(self) -> None:
        """Raise DatabaseError: where both databases are the same file."""
        if self.triton_db is not None and self.triton_db.resolve() == self.db.resolve():
            raise DatabaseError(
                f"triton_db must be another file than db, whose answers may be torch's, but both are {self.db}: name another file."
            )
