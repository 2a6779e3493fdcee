"""Which files answer: first the user's, then those shipped with tunedb. Each is opened once and warned about once."""

import contextlib
import hashlib
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store.failures import PassingError, is_file
from tunedb.store.read import Database

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

_RECENT_NS = 50_000_000  # a file may change again within the same tick of the file system's clock


class _Seen(NamedTuple):
    """What became of a file when it was last opened."""

    identity: object
    stamp: object  # changes when the file is written
    file: Database | None = None
    passing: bool = False  # it could not be opened for a reason that may pass without a change of the file


_lock = threading.RLock()
_open: dict[Path, _Seen] = {}
_told: dict[Path, str] = {}
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
    found = []
    for path in databases():
        with contextlib.suppress(OSError):  # it was removed just now
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def reload() -> None:
    """Forget all files and which were warned about: the next lookup opens them again.

    A lookup of another thread ends with the files that it has; each is closed when nobody uses it any more.
    """
    with _lock:
        _open.clear()
        _told.clear()
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
        _open.pop(path, None)
        if named:
            _tell(
                path,
                f"TUNEDB_PATH must name files, but there is none at {path}: correct it. The next tier answers.",
            )
        return None
    # Another inode: the file was replaced on disk, so it is opened again.
    return _remembered(path, (status.st_dev, status.st_ino), status, immutable=False)


def _shipped(path: Path) -> Database | None:
    return _remembered(path, "shipped", None, immutable=True)


def _remembered(
    path: Path, identity: object, status: os.stat_result | None, *, immutable: bool
) -> Database | None:
    known = _open.get(path)
    same = known is not None and known.identity == identity
    if known is not None and same:
        if known.file is not None and not known.file.failed:
            return known.file
        if not known.passing and known.stamp == _stamp(path, status):
            return known.file
    stamp = _stamp(path, status)
    try:
        file = Database(path, immutable=immutable, patient=not (same and known is not None and known.passing))
    except DatabaseError as error:
        _open[path] = _Seen(identity, stamp, None, isinstance(error, PassingError))
        _tell(path, f"{error} The next tier answers.")
        return None
    if same and known is not None and known.file is not None:
        file.warned = known.file.warned
    _open[path] = _Seen(identity, stamp, file)
    return file


def _stamp(path: Path, status: os.stat_result | None) -> object:
    """Return what changes when a file is written, looked up before the file is opened; nothing equals that of a recent one."""
    try:
        found = status or path.stat()
    except OSError:
        return None
    if abs(time.time_ns() - found.st_mtime_ns) < _RECENT_NS:
        return object()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _tell(path: Path, message: str) -> None:
    """Warn, unless the file was last warned about in the same words."""
    if _told.get(path) != message:
        _told[path] = message
        warnings.warn(message, TunedbWarning, stacklevel=2)


def _after_fork() -> None:
    # SQLite forbids a child to use or even to close a connection of its parent. The lock may be held by a thread that the
    # child does not have, so it needs a new one.
    global _lock  # noqa: PLW0603 (replaced in the child only)
    _lock = threading.RLock()
    _inherited.append(dict(_open))
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
