"""Histories of sweeps, read without changing them: opening one cuts off a broken last line."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunedb.tune.journal import History

__all__ = ["opened_copy"]


@contextlib.contextmanager
def opened_copy(path: Path) -> Iterator[History]:
    """Open a copy of a history; the file itself stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        yield History(str(copy))
