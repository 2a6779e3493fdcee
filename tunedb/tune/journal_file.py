"""The journal file of a search history: a text file with one JSON record a line, as Optuna reads and writes it.

A file is recognised before anything is written to it. A line that a crash or a full disk left unfinished is cut off before the
next one is appended, and a write that fails is taken back, so that every line is whole. (A journal of an older tunedb may hold
a broken line: it is passed over.)
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from tunedb.errors import StorageError, TunedbWarning
from tunedb.tune.file_lock import FileLock

__all__ = ["open_journal"]

_BEGIN = b'{"op_code":'  # of every record that Optuna writes
_FIRST = 1 << 20  # bytes in which the first line of a journal ends
# Optuna numbers records by their place, so that one which cannot be read still counts: this one changes nothing. (It sets an
# attribute of a study that does not exist, which Optuna lets pass where another process wrote it.)
_NOTHING = {"op_code": 2, "worker_id": "", "study_id": -1, "user_attr": {}}


def open_journal(storage: str, stopped: Callable[[], bool] = lambda: False) -> BaseStorage:
    """Return the storage of a journal file, made where there is none.

    Raises StorageError: where the file is not a journal, or cannot be opened.
    """
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock lies beside the file itself, whatever name a link gives it.
    return JournalStorage(_JournalFile(path.resolve(), stopped))


class _JournalFile(BaseJournalBackend):
    def __init__(self, path: Path, stopped: Callable[[], bool]) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(path.name + ".lock"), stopped)
        self._offsets = [0]  # of each record, and of what follows the last one that was read
        self._broken = 0
        with self._lock:
            file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                _recognise(path, os.pread(file, _FIRST, 0))
                self._identity = _identity(file)
            finally:
                os.close(file)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        if log_number_from >= len(self._offsets):
            return
        file = self._opened(os.O_RDONLY)
        with os.fdopen(file, "rb") as lines:
            lines.seek(self._offsets[log_number_from])
            number = log_number_from
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # being written, or left by a crash: the next append cuts it off
                number += 1
                if number == len(self._offsets):
                    self._offsets.append(self._offsets[-1] + len(line))
                yield self._record(line)

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._lock:
            file = self._opened(os.O_RDWR | os.O_APPEND)
            try:
                _write(self._path, file, text)
            finally:
                os.close(file)

    def _opened(self, how: int) -> int:
        """Open the file again, which must be the one that was recognised."""
        try:
            file = os.open(self._path, how | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(_gone(self._path, error.strerror or "")) from error
        if _identity(file) != self._identity:
            os.close(file)
            raise StorageError(_gone(self._path, "it is another file"))
        return file

    def _record(self, line: bytes) -> dict[str, Any]:
        """Return a line's record; of a broken line what was appended to it whole, or a record that changes nothing."""
        for text in (line, line[line.rfind(_BEGIN) :] if _BEGIN in line else b""):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if _is_record(found):
                return found
        self._broken += 1
        if self._broken == 1:
            warnings.warn(
                f"{str(self._path)!r} has a line that is no record of Optuna; it is passed over, what it held is searched again.",
                TunedbWarning,
                stacklevel=2,
            )
        return _NOTHING


def _recognise(path: Path, head: bytes) -> None:
    """Raise StorageError unless a file is empty or begins with a record of Optuna."""
    line, end, _ = head.partition(b"\n")
    if end:
        try:
            fine = _is_record(json.loads(line))
        except (ValueError, RecursionError):
            fine = False
    else:  # the very first write may have been cut short
        fine = len(head) < _FIRST and (line.startswith(_BEGIN) or _BEGIN.startswith(line))
    if not fine:
        sqlite = head.startswith(b"SQLite format 3\0")
        remedy = (
            f"write sqlite:///{path} for a history in SQLite" if sqlite else "name another with --storage"
        )
        raise StorageError(
            f"the search history must be a journal file of Optuna, an empty or a new file, or a URL, but {str(path)!r} "
            f"{'is an SQLite database' if sqlite else 'begins otherwise'}: {remedy}. It was not changed."
        )


def _is_record(found: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(found, dict)
        and type(found.get("op_code")) is int
        and isinstance(found.get("worker_id"), str)
    )


def _write(path: Path, file: int, text: bytes) -> None:
    """Append whole lines, or nothing."""
    end = os.fstat(file).st_size
    whole = _end_of_lines(file, end)
    try:
        if whole < end:
            os.ftruncate(file, whole)
        left = memoryview(text)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError as error:
        os.ftruncate(file, whole)
        raise StorageError(
            f"the search history {str(path)!r} cannot be written ({error.strerror}): make room and start this sweep again. "
            "It resumes; of what is in the history nothing is lost."
        ) from error


def _end_of_lines(file: int, end: int) -> int:
    """Return where the last whole line ends."""
    step = 1 << 16
    while end > 0:
        begin = max(0, end - step)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _identity(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino


def _gone(path: Path, why: str) -> str:
    return (
        f"the search history {str(path)!r} was moved, removed or replaced while a sweep used it ({why}): "
        "put it back, or start the sweep again with a history of its own."
    )
