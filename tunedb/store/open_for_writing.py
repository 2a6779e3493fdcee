"""How a database file is opened for writing: checked before anything is written to it, then brought up to date."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tunedb.errors import DatabaseError
from tunedb.store.files import user_file
from tunedb.store.read import failure
from tunedb.store.schema import foreign, is_new, migrate, mismatch

__all__ = ["LOCK_SECONDS", "explained", "open_for_writing"]

LOCK_SECONDS = 20.0  # another worker's transaction takes milliseconds, its VACUUM less than a second


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a file of the present schema, made if it is not there.

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
    with explained(path):
        connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        with explained(path):
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a DatabaseError that says what to do."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise failure(path, error) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if not is_new(connection):
        check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check.strip().replace("\n", " "))
        _refuse(path, foreign(connection))
        _try_to_write(connection)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        # WAL needs shared memory, which a network share lacks.
        connection.execute("PRAGMA journal_mode = DELETE")
    migrate(connection)
    _refuse(path, mismatch(connection, for_writing=True))


def _refuse(path: Path, why: str) -> None:
    if why:
        raise DatabaseError(f"{path} cannot be written: {why}.")


def _try_to_write(connection: sqlite3.Connection) -> None:
    # Better to learn now than after an hour's sweep that the file or its folder is read-only.
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {int(version)}")
    finally:
        connection.execute("ROLLBACK")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"the folder of the user's database must be writable, but making {folder} gives: {error.strerror}. Set TUNEDB_PATH."
        ) from error
