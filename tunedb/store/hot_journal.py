"""What a killed writer leaves behind: its journal, from which SQLite restores the file before anybody may read it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tunedb.errors import DatabaseError
from tunedb.store.failures import PassingError, failure

__all__ = ["check_journal", "is_half_written", "roll_back"]

_MAGIC = bytes.fromhex("d9d505f920a163d7")  # after the name of a second file at the end of a journal


def is_half_written(error: sqlite3.Error) -> bool:
    """Return whether a read-only connection fails because a killed writer's transaction has to be rolled back."""
    return getattr(error, "sqlite_errorcode", 0) in {
        sqlite3.SQLITE_READONLY_ROLLBACK,
        sqlite3.SQLITE_READONLY_RECOVERY,
    }


def roll_back(path: Path, seconds: float) -> None:
    """Restore a file to what it was before a killed writer's transaction, as its next writer would.

    Every reader needs that, and none that opens the file read-only can do it. Nothing that was stored is lost: the
    transaction was never committed. Waits for a lock at most that long.
    Raises PassingError: where this process may not write the file, its journal and their folder, or another process holds
    them. Raises DatabaseError: for a journal that names another file.
    """
    check_journal(path)
    try:
        with closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=seconds, isolation_level=None
            )
        ) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error as error:
        found = failure(path, error)
        if isinstance(found, PassingError):
            raise found from error
        raise PassingError(
            f"a database must be whole, but a process was killed while it wrote {path}, and what it left half written can only be "
            f"undone by somebody who may write the file, {_journal(path).name} and their folder (SQLite: {error}): "
            f"run `tunedb ls {path}` as such a user, or copy both files to a folder of your own."
        ) from error


def check_journal(path: Path) -> None:
    """Refuse a journal that names another file: SQLite would delete that file when it rolls the journal back.

    Only a transaction over several databases leaves such a journal, and tunedb makes none: somebody else made it.
    Raises DatabaseError: for such a journal.
    """
    try:
        with _journal(path).open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            end = file.read()
    except OSError:  # none, or an empty one, or one that SQLite cannot read either
        return
    if end == _MAGIC:
        raise DatabaseError(
            f"a database must have a journal of its own, but {_journal(path)} names a second file, which SQLite would delete: "
            "delete that journal if you do not know where it comes from, or name another database."
        )


def _journal(path: Path) -> Path:
    place = Path(os.path.realpath(path))
    return place.with_name(f"{place.name}-journal")
