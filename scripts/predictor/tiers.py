"""Today's tiers without what is held out: copies of the shipped databases that lack those records."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tunedb.problem import Problem
from tunedb.store import files

__all__ = ["without"]


@contextlib.contextmanager
def without(shipped: Mapping[str, Path], held: set[Problem]) -> Iterator[None]:
    """Let lookups answer from these databases, by slug, and no other, as if the problems had never been swept on any device."""
    real = files.shipped_files, files.user_files
    with tempfile.TemporaryDirectory() as name:
        copies = {slug: Path(name) / path.name for slug, path in shipped.items()}
        for slug, path in shipped.items():
            copies[slug].write_bytes(path.read_bytes())
            _strike(copies[slug], held)
        files.shipped_files, files.user_files = (lambda: copies), list
        files.reload()
        try:
            yield
        finally:
            files.shipped_files, files.user_files = real
            files.reload()


def _strike(path: Path, held: set[Problem]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"SELECT id, {', '.join(Problem._fields)} FROM problems")  # noqa: S608 (column names of our own)
        gone = [(row[0],) for row in rows if Problem(*row[1:]) in held]
        connection.executemany("DELETE FROM records WHERE problem_id = ?", gone)
        connection.commit()
