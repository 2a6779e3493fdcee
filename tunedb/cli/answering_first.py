"""A database that answers before those in use, for one command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["answering_first"]


@contextmanager
def answering_first(db: Path | None) -> Iterator[None]:
    """Let a database answer before those in use.

    Raises DatabaseError: where it cannot be read, which a lookup would only warn of.
    """
    if db is None:
        yield
        return
    from tunedb.store.files import user_files
    from tunedb.store.read import Database

    Database(db).close()
    before = os.environ.get("TUNEDB_PATH")
    others = [str(path) for path in user_files() if path.is_file() and path != db]
    os.environ["TUNEDB_PATH"] = os.pathsep.join([str(db), *others])
    try:
        yield
    finally:
        if before is None:
            del os.environ["TUNEDB_PATH"]
        else:
            os.environ["TUNEDB_PATH"] = before
