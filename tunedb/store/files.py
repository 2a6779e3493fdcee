"""Which files answer: the user's over those shipped with tunedb, each opened once, each complained about once."""

import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store.read import Database, is_file

__all__ = [
    "databases",
    "opened",
    "opened_elsewhere",
    "reload",
    "rescued",
    "shipped_files",
    "user_file",
    "user_files",
]

Result = TypeVar("Result")

_lock = threading.RLock()
_open: dict[Path, tuple[object, Database | None]] = {}
_places: dict[str, Any] = {}
_inherited: list[Any] = []


def databases(slug: str | None = None) -> list[Path]:
    """Return the files that exist, in order of precedence; those shipped for other devices last."""
    shipped = shipped_files()
    own = [path for name, path in shipped.items() if name == slug]
    rest = [path for name, path in shipped.items() if name != slug]
    return [*(path for path in user_files() if is_file(path)), *own, *rest]


def user_files() -> list[Path]:
    """Return the files that win over the shipped ones: those of TUNEDB_PATH, else the user's own; missing ones too."""
    named = [Path(part) for part in os.environ.get("TUNEDB_PATH", "").split(os.pathsep) if part]
    if named:
        return named
    try:
        from platformdirs import user_data_path
    except ImportError:  # it only says where: no reason for an inference to fail
        return [
            Path(
                os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "tunedb", "tunedb.sqlite"
            )
        ]
    return [user_data_path("tunedb", appauthor=False) / "tunedb.sqlite"]


def user_file() -> Path:
    """Return where sweeps write by default: the user file that wins."""
    return user_files()[0]


def shipped_files() -> dict[str, Path]:
    """Return the file of each device that comes with tunedb, by slug."""
    from importlib.resources import files

    return {path.stem: path for path in sorted(Path(str(files("tunedb.db"))).glob("*.sqlite"))}


def opened(slug: str) -> list[Database]:
    """Return the files that answer for a device, in order of precedence."""
    with _lock:
        users, shipped, named = _known_places()
        own = [_shipped(path) for name, path in shipped.items() if name == slug]
        return [file for file in [*(_user(path, named=named) for path in users), *own] if file is not None]


def opened_elsewhere(slug: str) -> list[Database]:
    """Return the files shipped for other devices."""
    with _lock:
        _, shipped, _ = _known_places()
        found = [_shipped(path) for name, path in shipped.items() if name != slug]
        return [file for file in found if file is not None]


def reload() -> None:
    """Forget the open files and what was said about them: the next lookup reads the disk again."""
    with _lock:
        for _, file in _open.values():
            if file is not None:
                file.close()
        _open.clear()
        _places.clear()


def rescued(file: Database, read: Callable[[], Result], otherwise: Result) -> Result:
    """Return what `read` gives, or `otherwise` with one TunedbWarning where the file fails it."""
    try:
        return read()
    except DatabaseError as error:
        file.complain(f"{error} The next tier answers.")
        return otherwise


def _known_places() -> tuple[list[Path], dict[str, Path], bool]:
    key = os.environ.get("TUNEDB_PATH", "")
    if key not in _places:  # neither an import nor a listing of folders on each lookup
        _places[key] = (user_files(), shipped_files(), bool(key))
    places: tuple[list[Path], dict[str, Path], bool] = _places[key]
    return places


def _user(path: Path, *, named: bool) -> Database | None:
    try:
        status = path.stat()
    except OSError:
        if named and path not in _open:
            _open[path] = (None, None)
            _warn(
                f"TUNEDB_PATH must name files, but there is none at {path}: correct it. The next tier answers."
            )
        return None
    # A file that was replaced on disk is another file.
    return _remembered(path, (status.st_dev, status.st_ino), immutable=False)


def _shipped(path: Path) -> Database | None:
    return _remembered(path, "shipped", immutable=True)


def _remembered(path: Path, identity: object, *, immutable: bool) -> Database | None:
    known = _open.get(path)
    if known is not None and known[0] == identity:
        return known[1]
    _open[path] = (identity, None)
    try:
        file = Database(path, immutable=immutable)
    except DatabaseError as error:
        _warn(f"{error} The next tier answers.")
        return None
    _open[path] = (identity, file)
    return file


def _warn(message: str) -> None:
    warnings.warn(message, TunedbWarning, stacklevel=2)


def _after_fork() -> None:
    # SQLite forbids a child to use or even to close a connection of its parent, and a thread that is gone may hold the lock.
    global _lock  # noqa: PLW0603 (the lock of a forked process must be a new one)
    _lock = threading.RLock()
    _inherited.append(dict(_open))
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
