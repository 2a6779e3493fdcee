"""How a file of an older schema version is brought up to date: a copy is migrated, then it takes the file's place."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tunedb.errors import DatabaseError
from tunedb.store.schema import migrate, mismatch

__all__ = ["file_identity", "folder_lock", "replace_by_migrated"]

SUFFIX = ".migrating"  # of the copy, which lies beside the file

# A tunedb that does not know folder_lock may still have the replaced file open. What it wrote there would be lost, so its
# next record gets this error.
_STOP_WRITERS = """CREATE TRIGGER replaced BEFORE INSERT ON records BEGIN
    SELECT RAISE(ABORT, 'the file was replaced by one of a newer tunedb: end this program and update it'); END"""


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file that is at the path now, None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def folder_lock(path: Path, seconds: float, *, exclusive: bool = False) -> Iterator[None]:
    """Lock a file's folder: shared to begin a transaction on the file, exclusive to replace it.

    A connection to a replaced file must never begin a transaction: SQLite finds the journal by the file's name, so it would
    take the journal of a writer of the new file for its own, roll it back and delete it. Writers therefore check
    file_identity and begin under the shared lock. The lock is the system's own and leaves no file; where the file system
    has none for folders, there is none. Raises sqlite3.OperationalError: where another process holds it for too long.
    """
    try:
        number = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError:  # what uses the file next says what is wrong with the folder
        yield
        return
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(number, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise sqlite3.OperationalError("the folder of the database is locked") from None
                time.sleep(0.01)
                continue
            except OSError:
                pass
            break
        yield
    finally:
        os.close(number)


def replace_by_migrated(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate a copy of a file and put it in the file's place in one step.

    The caller must have the exclusive folder_lock, and `connection` the file's write lock (BEGIN IMMEDIATE) in journal
    mode MEMORY: then nobody else writes while the file is copied, and readers can go on. Until the last step the file
    keeps every byte: a failure or a kill leaves it as it was. A kill may leave the copy, which the next attempt removes.
    Afterwards the connection has the replaced file open and must be closed; a reader keeps reading that file until it
    opens the path again. Raises DatabaseError or sqlite3.Error: where the migration fails.
    """
    place = path.resolve()  # replace the file itself and not a link to it
    copy = place.with_name(place.name + SUFFIX)
    try:
        _make_copy(place, copy)
        copy.replace(place)
        with contextlib.suppress(OSError):  # some network shares refuse it for a folder
            _sync(place.parent)
    except OSError as error:
        raise DatabaseError(
            f"a database of an older tunedb must be in a folder where a copy of it can be made, but {copy} gives: {error.strerror}. "
            "Free some space, change the permissions or name another file."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(copy)
    with contextlib.suppress(sqlite3.Error):
        connection.execute(_STOP_WRITERS)
        connection.execute("COMMIT")


def _make_copy(place: Path, copy: Path) -> None:
    _remove(copy)
    status = place.stat()
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    # Both are opened by SQLite: closing a file that was opened in another way would give up this process's locks on it.
    with (
        closing(sqlite3.connect(place)) as source,
        closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            target.execute(f"PRAGMA {pragma}")
        source.backup(target)
        migrate(target)
        if why := mismatch(target, for_writing=True):
            raise DatabaseError(f"{place} cannot be migrated: {why}.")
    with contextlib.suppress(PermissionError):  # only root may give a file away
        os.chown(copy, status.st_uid, status.st_gid)
    copy.chmod(status.st_mode & 0o7777)
    _sync(copy)


def _remove(copy: Path) -> None:
    for file in (copy, copy.with_name(copy.name + "-journal")):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk, so that a power failure cannot leave an empty file."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
