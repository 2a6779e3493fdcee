"""What a sweep says before it begins and after it has ended: for which GPU, whether times are measured, and where they go."""

import os
from collections.abc import Sequence
from pathlib import Path

from tunedb.describe import counted
from tunedb.store.files import user_files
from tunedb.tune.selection import gpus_here
from tunedb.tune.settings import Settings
from tunedb.tune.storage_url import shown
from tunedb.tune.summary import STOPS, Summary

__all__ = ["closing", "count_line", "opening"]


def opening(settings: Settings) -> list[str]:
    """Return which GPU a sweep is for, whether its times are measured or predicted, and which files it writes."""
    device = settings.device
    files = f"database: {settings.db}"
    if settings.triton_db is not None:
        files += f"; best Triton results: {settings.triton_db}"
    return [
        f"device: {device.slug} ({device.name}), {_provenance(settings)}",
        files,
        *([f"search history: {shown(settings.storage)}"] if settings.storage else []),
    ]


def count_line(total: int, done: int, trials: int | None) -> str:
    """Return how many problems there are and how many trials each has; None by gain."""
    each = "trials by gain" if trials is None else f"{counted(trials, 'trial')} each"
    return f"{counted(total, 'problem')}, {done} of them done, {each}"


def closing(summary: Summary, settings: Settings) -> list[str]:
    """Return how what was written is used, and after a stop that the same command goes on."""
    lines = []
    if summary.records:
        read = _same(settings.db, user_files())
        use = "it is read by every call" if read else _how_to_read(settings.db)
        where = "" if read else f" --db {settings.db}"
        lines += [
            f"The answers are in {settings.db}: {use}.",
            f"See what they are worth: tunedb report{where}; what answers a call: tunedb explain ID{where} --device {settings.device.slug}",
        ]
    if summary.ended in STOPS:
        lines.append("The same command resumes where this one stopped.")
    return lines


def _provenance(settings: Settings) -> str:
    if settings.provenance == "measured":
        return f"measured on GPU {', '.join(map(str, settings.gpus))}"
    predicted = "times are PREDICTED by a model, not measured"
    here = gpus_here()
    if here:
        return f"{predicted}: the GPU here is {', '.join(dict.fromkeys(one.slug for one in here))}"
    from tunedb.measure.absent_gpu import absence

    found = absence()
    return (
        predicted if found is None else " ".join(filter(None, (f"{predicted}: {found.why}.", found.remedy)))
    )


def _how_to_read(db: Path) -> str:
    rest = f" (several are joined by {os.pathsep})"
    return f"export TUNEDB_PATH={db.absolute()} lets calls read it instead of your user database{rest}"


def _same(db: Path, others: Sequence[Path]) -> bool:
    return db.resolve() in {one.resolve() for one in others}
