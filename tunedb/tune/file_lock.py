"""A lock between processes, on a file beside the one it guards."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tunedb.errors import StorageError

__all__ = ["FileLock"]

PATIENCE_S = 30.0  # a write takes milliseconds: whoever holds the lock for so long has been stopped or hangs
LAST_PATIENCE_S = 2.0  # once the sweep is to end
_POLL_S = (0.001, 0.05)


class FileLock:
    """Held by one process at a time, and released by the system when that one is killed.

    `stopped` tells whether the sweep is to end: it then waits for two seconds more, not for thirty.
    """

    def __init__(self, path: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        self._path = path
        self._stopped = stopped
        self._file: int | None = None

    def acquire(self) -> None:
        """Wait for the lock. Raises StorageError: where another process keeps it, or its file cannot be opened."""
        file = self._opened()
        try:
            self._wait(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _opened(self) -> int:
        try:
            # No link is followed: in a folder that others write to it could name a file of this user. Nothing is written.
            file = os.open(
                self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666
            )
        except OSError as error:
            why = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise StorageError(
                f"the lock of a search history must be a file that can be opened, but {str(self._path)!r} is not ({why}): "
                "remove it or name another history with --storage."
            ) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise StorageError(
                f"the lock of a search history must be a plain file, but {str(self._path)!r} is none: remove it."
            )
        return file

    def _wait(self, file: int) -> None:
        begin, told = time.monotonic(), None
        pause = _POLL_S[0]
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                if told is None and self._stopped():
                    told = now
                if now - begin > PATIENCE_S or (told is not None and now - told > LAST_PATIENCE_S):
                    raise StorageError(
                        f"another process has held {str(self._path)!r} for {now - begin:.0f} s, which a write never takes: "
                        "it has been stopped or hangs. End it (fuser or lsof names it) and start this sweep again: it resumes."
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _POLL_S[1])
            else:
                return
