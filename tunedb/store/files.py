"""Which files answer: first the user's, then those shipped with tunedb. Each is opened once and warned about once."""

import hashlib
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
    "fingerprint",
    "opened",
    "opened_elsewhere",
    "read_or_default",
    "reload",
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
    """Return the files that exist, the one that answers first in front; those shipped for other devices come last."""
    shipped = shipped_files()
    own = [path for name, path in shipped.items() if name == slug]
    rest = [path for name, path in shipped.items() if name != slug]
    return [*(path for path in user_files() if is_file(path)), *own, *rest]


def user_files() -> list[Path]:
    """Return the files that answer before the shipped ones, missing ones too: those of TUNEDB_PATH, else the user's own."""
    named = [Path(part) for part in os.environ.get("TUNEDB_PATH", "").split(os.pathsep) if part]
    if named:
        return named
    try:
        from platformdirs import user_data_path
    except ImportError:  # only the place is unknown: an inference must not fail for that
        return [
            Path(
                os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "tunedb", "tunedb.sqlite"
            )
        ]
    return [user_data_path("tunedb", appauthor=False) / "tunedb.sqlite"]


def user_file() -> Path:
    """Return where sweeps write by default: the first of the user's files."""
    return user_files()[0]


def shipped_files() -> dict[str, Path]:
    """Return the files that come with tunedb, by the slug of their device."""
    from importlib.resources import files

    return {path.stem: path for path in sorted(Path(str(files("tunedb.db"))).glob("*.sqlite"))}


def opened(slug: str) -> list[Database]:
    """Return the files that answer for a device, the one that answers first in front."""
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


def fingerprint() -> str:
    """Return 16 hex digits that change when a file that answers is written, added or removed."""
    found = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in databases()]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def reload() -> None:
    """Close all files and forget which were warned about: the next lookup opens them again."""
    with _lock:
        for _, file in _open.values():
            if file is not None:
                file.close()
        _open.clear()
        _places.clear()


def read_or_default(file: Database, read: Callable[[], Result], default: Result) -> Result:
    """Return what `read` gives, or `default` and one TunedbWarning for the file if it cannot be read."""
    try:
        return read()
    except DatabaseError as error:
        file.complain(f"{error} The next tier answers.")
        return default


def _known_places() -> tuple[list[Path], dict[str, Path], bool]:
    key = os.environ.get("TUNEDB_PATH", "")
    if key not in _places:  # so that a lookup neither imports platformdirs nor lists a folder
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
    # Another inode: the file was replaced on disk, so it is opened again.
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
    # SQLite forbids a child to use or even to close a connection of its parent. The lock may be held by a thread that the
    # child does not have, so it needs a new one.
    global _lock  # noqa: PLW0603 (replaced in the child only)
    _lock = threading.RLock()
    _inherited.append(dict(_open))
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
