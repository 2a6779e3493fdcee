"""The journal file of a search history: locked by the system, and readable after a crash."""

import fcntl
import os
from pathlib import Path
from typing import IO

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

__all__ = ["FileLock", "open_journal"]


class FileLock(JournalFileOpenLock):
    """A lock that the system releases when its owner is killed. Optuna's own would stay locked for 30 s."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        self._file = Path(self._path).open("ab")  # noqa: SIM115 (closed by release)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None


def open_journal(storage: str) -> BaseStorage:
    """Return the storage of a journal file, made where there is none."""
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(storage + ".lock")
    if path.exists():
        lock.acquire()
        try:
            _drop_half_line(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(storage, lock_obj=lock))


def _drop_half_line(path: Path) -> None:
    """Remove a last line that a crash left unfinished. If more were appended to it, Optuna could not read the file."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        back = min(end, 1 << 20)
        file.seek(end - back)
        tail = file.read(back)
        keep = tail.rfind(b"\n") + 1
        if keep and keep < len(tail):
            file.truncate(end - back + keep)
