"""What tunedb stands on: versions, GPUs, files, caches and variables, each with what is wrong and the remedy."""

import os
import platform
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["VARIABLES", "FileState", "Gpu", "Health", "examine"]

# What changes an answer or a place.
VARIABLES = (
    "TUNEDB_PATH",
    "XDG_DATA_HOME",
    "TRITON_CACHE_DIR",
    "TRITON_HOME",
    "TRITON_INTERPRET",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
)


class Gpu(NamedTuple):
    cuda_index: int
    slug: str
    name: str
    catalogued: bool  # its rates are known, not guessed


class FileState(NamedTuple):
    """A database in effect. Counts are 0 where it cannot be read."""

    path: Path
    shipped: bool
    exists: bool
    readable: bool
    writable: bool  # or can be made, where it does not exist
    records: int
    stale: int


class Health(NamedTuple):
    """What was found, and in `wrong` a sentence with its remedy for each thing that is not as it should be."""

    versions: dict[str, str]
    gpus: list[Gpu]
    why_no_gpu: str  # empty where there is one
    files: list[FileState]  # the one that answers first in front
    triton_cache: Path
    triton_cache_writable: bool
    variables: dict[str, str]
    wrong: list[str]
    notes: list[str]  # what may be as it is meant, with what to do otherwise

    def as_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "gpus": [gpu._asdict() for gpu in self.gpus],
            "files": [{**file._asdict(), "path": str(file.path)} for file in self.files],
            "why_no_gpu": self.why_no_gpu or None,
            "triton_cache": str(self.triton_cache),
        }


def examine() -> Health:
    """Look at everything, and raise for nothing."""
    wrong: list[str] = []
    notes: list[str] = []
    versions = _versions(wrong)
    gpus, why = _gpus(wrong)
    files = _files(wrong, notes)
    cache, writable = _triton_cache(wrong)
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if variables.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "yes", "on", "y"}:
        wrong.append("TRITON_INTERPRET runs kernels in an interpreter, thousands of times slower: unset it.")
    return Health(versions, gpus, why, files, cache, writable, variables, wrong, notes)


def _versions(wrong: list[str]) -> dict[str, str]:
    import tunedb
    from tunedb.measure.versions import environment

    found = environment()
    if not found["triton"]:
        wrong.append("Triton is not installed, so torch answers every call: pip install 'triton>=3.6,<3.8'.")
    return {"tunedb": tunedb.__version__, "python": platform.python_version(), **found}


def _gpus(wrong: list[str]) -> tuple[list[Gpu], str]:
    from tunedb.device import CATALOGUE
    from tunedb.measure.absent_gpu import absence
    from tunedb.tune.selection import gpus_here

    missing = absence()
    if missing is not None:
        if missing.remedy:
            wrong.append(f"{missing.why[0].upper()}{missing.why[1:]}. {missing.remedy}")
        return [], missing.why
    known = {device.slug for device in CATALOGUE}
    here = enumerate(gpus_here())
    return [Gpu(index, one.slug, one.name, one.slug in known) for index, one in here], ""


def _files(wrong: list[str], notes: list[str]) -> list[FileState]:
    from tunedb.store.files import shipped_files, user_files

    named = bool(os.environ.get("TUNEDB_PATH"))
    found = [_file(path, False, wrong) for path in user_files()]
    for one in found:
        if named and not one.exists:
            wrong.append(
                f"TUNEDB_PATH names {one.path}, which is no file: correct the path, or sweep into it."
            )
        elif not one.writable:
            notes.append(f"{one.path} cannot be written: a sweep needs --db with another file.")
        if one.stale:
            notes.append(
                f"{one.path} has {one.stale} stale of {one.records} records, which are no more than hints: sweep their problems again, or remove them with `tunedb prune --db {one.path}`."
            )
    return [*found, *(_file(path, True, wrong) for path in shipped_files().values())]


def _file(path: Path, shipped: bool, wrong: list[str]) -> FileState:
    from tunedb.errors import DatabaseError
    from tunedb.store.failures import is_file
    from tunedb.store.listing import count

    writable = _writable(path)
    if not is_file(path):
        return FileState(path, shipped, exists=False, readable=False, writable=writable, records=0, stale=0)
    try:
        counts = count([path])
    except DatabaseError as error:
        wrong.append(str(error))
        return FileState(path, shipped, exists=True, readable=False, writable=writable, records=0, stale=0)
    records, stale = sum(one.records for one in counts), sum(one.stale for one in counts)
    return FileState(
        path, shipped, exists=True, readable=True, writable=writable, records=records, stale=stale
    )


def _writable(path: Path) -> bool:
    """Return whether SQLite can write a file: it makes another one beside it meanwhile."""
    folder = path.parent if path.exists() else _nearest(path.parent)
    return os.access(folder, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def _triton_cache(wrong: list[str]) -> tuple[Path, bool]:
    home = Path(os.environ.get("TRITON_HOME") or Path.home())
    cache = Path(os.environ.get("TRITON_CACHE_DIR") or home / ".triton" / "cache")
    try:
        with tempfile.TemporaryFile(dir=_nearest(cache)):
            return cache, True
    except OSError as error:
        wrong.append(
            f"Triton's cache must be a folder that can be written, but {cache} is not ({error.strerror}): name another one in TRITON_CACHE_DIR."
        )
        return cache, False


def _nearest(path: Path) -> Path:
    """Return the path itself or its first parent that exists."""
    return next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
