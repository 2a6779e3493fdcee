"""How a database file is opened for writing: checked before anything is written, then brought up to date."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tunedb.errors import DatabaseError
from tunedb.store.failures import failure
from tunedb.store.files import user_file
from tunedb.store.hot_journal import check_journal
from tunedb.store.migrate_file import file_identity, folder_lock, replace_by_migrated
from tunedb.store.schema import is_new, is_older, migrate, mismatch, version_of

__all__ = ["LOCK_SECONDS", "Opened", "explained", "open_for_writing"]

LOCK_SECONDS = 20.0  # another worker's transaction takes milliseconds, its VACUUM less than a second
_ATTEMPTS = 5  # a file is opened again after it was migrated, here or by another process


class Opened(NamedTuple):
    """A connection to a file, and which file it was, to notice when another takes its place."""

    connection: sqlite3.Connection
    identity: tuple[int, int] | None


def open_for_writing(path: Path) -> Opened:
    """Open a file of the newest schema version; a missing one is made, an older one is migrated.

    Raises DatabaseError: where the file cannot be written, is damaged, foreign or newer; it is left as it was.
    """
    if path == user_file():
        _make_folder(path.parent)
    if not os.access(f"{path.parent}/.", os.X_OK, effective_ids=True):
        raise DatabaseError(
            f"a database must lie in a folder that exists, but {path.parent} does not, or may not be entered: make it or name another file."
        )
    if path.is_dir():
        raise DatabaseError(f"a database must be a file, but {path} is a folder: name a file in it.")
    check_journal(path)
    for _ in range(_ATTEMPTS):
        with explained(path):
            with folder_lock(path, LOCK_SECONDS):
                opened = _connect(path)
                try:
                    if _prepare(opened, path):
                        return opened
                except BaseException:
                    opened.connection.close()
                    raise
                opened.connection.close()
            with folder_lock(path, LOCK_SECONDS, exclusive=True):
                _migrate(path)
    raise DatabaseError(
        f"a database must stay in its place while it is opened, but {path} was replaced {_ATTEMPTS} times: end what replaces it."
    )


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a DatabaseError that says what to do."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise failure(path, error) from error


def _connect(path: Path) -> Opened:
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    return Opened(connection, file_identity(path))  # SQLite has made the file if it was missing


def _prepare(opened: Opened, path: Path) -> bool:
    """Check a file. Return whether it is of the newest version; a new one becomes so, an older one has to be migrated."""
    connection = opened.connection
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if not is_new(connection):
        check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check.strip().replace("\n", " "))
        _refuse(path, mismatch(connection, for_writing=True))
        _try_to_write(connection)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        # WAL needs shared memory, which a network share lacks.
        connection.execute("PRAGMA journal_mode = DELETE")
    if not is_new(connection) and is_older(connection):
        return False
    migrate(connection)  # makes the tables of a new file, which has no rows that could be lost
    _refuse(path, mismatch(connection, for_writing=True))
    return True


def _migrate(path: Path) -> None:
    with closing(_connect(path).connection) as connection:
        # With its journal in memory this connection never writes a journal file, which would lie beside the new file.
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("BEGIN IMMEDIATE")  # waits for other writers, and keeps them waiting
        if not is_new(connection) and is_older(
            connection
        ):  # else another process has migrated it in the meantime
            replace_by_migrated(connection, path)


def _refuse(path: Path, why: str) -> None:
    if why:
        raise DatabaseError(f"{path} cannot be written: {why}.")


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Raise now, and not after an hour's sweep, if the file or its folder is read-only."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {version_of(connection)}")
    finally:
        connection.execute("ROLLBACK")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"the folder of the user's database must be writable, but making {folder} gives: {error.strerror}. Set TUNEDB_PATH."
        ) from error
