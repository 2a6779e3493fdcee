"""What SQLite says about a file, in words with a remedy; and whether it may pass by itself."""

import sqlite3
from pathlib import Path

from tunedb.errors import DatabaseError
from tunedb.store.rows import printable_line

__all__ = ["PassingError", "failure", "is_file"]


class PassingError(DatabaseError):
    """The file cannot be read now, and may be later as it is: another process holds it."""


def is_file(path: Path) -> bool:
    """Return whether there is a file at the path and its folder may be entered."""
    try:
        return path.is_file()
    except OSError:  # the folder may not be entered
        return False


def failure(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> DatabaseError:
    """Return SQLite's message about a file with a remedy. The message may quote damaged text of the file."""
    text = printable_line(str(error))
    for mark, rule, remedy in _REMEDIES:
        if mark in text:
            kind = PassingError if mark == "locked" else DatabaseError
            return kind(f"a database must be {rule}, but {path} gives: {text}. {remedy}")
    return DatabaseError(
        f"a database must be a sound SQLite file, but {path} gives: {text}. Restore it from a copy or delete it."
    )


_REMEDIES = (
    ("locked", "free to read and write", "Another process holds it: try again when that has ended."),
    ("readonly", "writable", "Change its permissions or name another file."),
    ("unable to open", "readable, and its folder writable", "Change their permissions or name another file."),
    ("full", "on a disk with space left", "Free some space or name another file."),
    (
        "interrupted",
        "quick to read",
        "It is damaged or made to waste time: restore it from a copy or delete it.",
    ),
)
