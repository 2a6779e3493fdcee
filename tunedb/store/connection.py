"""A guarded, read-only connection to one file: whatever that holds, a query ends in time and gives checked rows."""

import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store import budget
from tunedb.store.checks import RowError
from tunedb.store.failures import PassingError, failure, is_file
from tunedb.store.hot_journal import is_half_written, roll_back
from tunedb.store.schema import mismatch, version_of, views_of_newest

__all__ = ["Connection"]

LOCK_SECONDS = 1.0  # a writer holds its lock for milliseconds


class Connection:
    """A file, opened for reading. Threads may share it; it is closed when the last of them has let go of it.

    Waits for another process's lock LOCK_SECONDS or, if not `patient`, not at all.
    Raises DatabaseError: for a file that is missing, damaged, foreign or newer than this tunedb. Raises PassingError: for
    one that another process holds.
    """

    def __init__(self, path: Path, *, immutable: bool = False, patient: bool = True) -> None:
        self.path = path
        self.failed = False  # in a way that lasts as long as the file is as it is
        self._lock = threading.Lock()
        self._deadline = [0.0]
        self._patient = patient
        self._immutable = immutable
        self.kept: Any = None  # what lookups remember of it (tunedb/store/remembered.py)
        self.warned = False
        if not is_file(path):
            raise DatabaseError(f"a database must be a file, but {_at(path)}: correct the path.")
        # as_uri quotes ?, # and %, which have a meaning of their own in a URI.
        uri = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")
        try:
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise failure(path, error) from error
        begun = time.monotonic()
        try:
            self._limit(budget.share())
            self._guard()
            why = self._recovered(lambda: mismatch(self._connection))
            if not why:
                self._read_as_newest()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._connection.close()
            raise failure(path, error) from error
        except DatabaseError:
            self._connection.close()
            raise
        finally:
            budget.spend(begun)
        if why:
            self._connection.close()
            raise DatabaseError(f"{path} cannot be read: {why}.")

    def _guard(self) -> None:
        connection, deadline = self._connection, self._deadline
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        # Bytes that are not UTF-8 become surrogates, which are unprintable, so the checks of a row refuse them.
        connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        # Often, because one step may load a long value; and without `self`, which could then not be let go of.
        connection.set_progress_handler(lambda: time.monotonic() > deadline[0], 1_000)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {pragma}")

    def _read_as_newest(self) -> None:
        self._connection.execute("PRAGMA temp_store = MEMORY")
        for statement in views_of_newest(version_of(self._connection)):
            self._connection.execute(statement)
        self._connection.execute("PRAGMA query_only = ON")  # would refuse the temporary views too

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __del__(self) -> None:
        if connection := getattr(self, "_connection", None):
            connection.close()

    def version(self) -> object:
        """Return what changes when the file does; None where that cannot be said now. An immutable file never changes.

        SQLite's own counter sees a transaction of another connection, and the file's status a copy that was written over it.
        """
        if self._immutable:
            return 0
        allowed, begun = budget.share(), time.monotonic()
        if not self._lock.acquire(timeout=allowed.seconds):
            return None
        try:
            self._limit(allowed)
            # The query that follows waits for a lock, not this one.
            self._connection.execute("PRAGMA busy_timeout = 0")
            (counted,) = self._connection.execute("PRAGMA data_version").fetchone()
            status = self.path.stat()
        except (sqlite3.Error, OSError):
            return None  # the query that follows meets it too, and says so
        finally:
            self._lock.release()
            budget.spend(begun)
        return counted, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def reject(self, why: str) -> None:
        """Warn, once for this file, that a row of it is skipped."""
        self.complain(f"A row of {self.path} is left aside: {why} Others like it are left aside silently.")

    def complain(self, message: str) -> None:
        """Warn, unless this file was warned about before."""
        if not self.warned:
            self.warned = True
            warnings.warn(message, TunedbWarning, stacklevel=3)

    def _rows(self, sql: str, arguments: Sequence[Any], read: Callable[[Any], Any] = tuple) -> list[Any]:
        """Return what `read` makes of each row; one that it refuses (RowError) is left aside with a warning.

        In a lookup only as much as its budget has room for; elsewhere every row.
        Raises DatabaseError: where the file cannot be read, and outside a lookup where that takes too long.
        """
        allowed, begun = budget.share(), time.monotonic()
        if not self._lock.acquire(timeout=allowed.seconds):
            budget.spend(begun)
            raise PassingError(
                f"a database must be free to read, but {self.path} is busy with other threads' lookups: try again."
            )
        rows: list[Any] = []
        size = [0]
        try:
            self._limit(allowed)
            self._recovered(lambda: self._collect(sql, arguments, read, rows, size, allowed))
            self._patient = True
        except OverflowError:  # a size beyond 64 bits is in no file
            pass
        except sqlite3.DataError as error:
            if allowed.whole:
                raise failure(self.path, error) from error
            budget.cut_short()
            self.reject(f"{error}.")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            late = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
            if not late or allowed.whole:
                raise self._noted(failure(self.path, error)) from error
            budget.cut_short()
            self.complain(
                f"a database must be quick to read, but {self.path} takes longer than a lookup has: it answers with what was read in time. "
                "If it is not that large, it is damaged or made to waste time: restore it from a copy or delete it."
            )
        except DatabaseError as error:
            raise self._noted(error) from error.__cause__
        finally:
            self._lock.release()
            budget.spend(begun, len(rows), size[0])
        return rows

    def _collect(
        self,
        sql: str,
        arguments: Sequence[Any],
        read: Callable[[Any], Any],
        rows: list[Any],
        size: list[int],
        allowed: budget.Share,
    ) -> None:
        for number, row in enumerate(self._connection.execute(sql, tuple(arguments)), 1):
            try:
                rows.append(read(row))
            except RowError as error:
                self.reject(str(error))
            size[0] += sum(len(value) for value in row if type(value) in {str, bytes})
            if number >= allowed.rows or size[0] >= allowed.bytes:
                budget.cut_short()
                return
            if not number % 16 and time.monotonic() > self._deadline[0]:
                late = sqlite3.OperationalError("interrupted")
                late.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
                raise late

    def _limit(self, allowed: budget.Share) -> None:
        """Let what follows take no more than its share; wait for a lock only where that was worth it the last time."""
        self._deadline[0] = time.monotonic() + allowed.seconds
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, allowed.value_bytes)
        patience = min(LOCK_SECONDS, allowed.seconds) if self._patient else 0.0
        self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * patience)}")

    def _recovered(self, work: Callable[[], Any]) -> Any:
        """Return what the work gives, after a killed writer's transaction was undone where that is in the way."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_half_written(error):
                raise
        roll_back(self.path, min(LOCK_SECONDS, budget.share().seconds))
        return work()

    def _noted(self, error: DatabaseError) -> DatabaseError:
        if isinstance(error, PassingError):
            self._patient = False
        else:
            self.failed = True
        return error


def _at(path: Path) -> str:
    """Return what is at a path in place of a file."""
    try:
        folder = path.is_dir()
    except OSError:
        folder = False
    return f"{path} is a folder" if folder else f"there is none at {path}"
