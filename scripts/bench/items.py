"""Which problems a benchmark runs, and how its command is told to a reader."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Item", "command", "wanted"]


class Item(NamedTuple):
    """A problem of a suite in one dtype and layout, by its id."""

    id: str
    problem: Any

    @property
    def key(self) -> tuple[str, str, str]:
        return self.id, self.problem.dtype, self.problem.layout


def wanted(suite: str, dtypes: str, layouts: str, only: str | None, batch: int | None = None) -> list[Item]:
    """Return what lists with commas stand for, in the same order in every process; `batch` leaves out others.

    channels_last is for two and three dimensions; float32 may use TF32. Raises SystemExit: for unknown ids.
    """
    from tunedb.suite import load_suite

    entries = [entry for entry in load_suite(suite) if batch in {None, entry.n}]
    if only:
        ids = only.split(",")
        if unknown := sorted(set(ids) - {entry.id for entry in entries}):
            sys.exit(f"--only must name problems of {suite}, but got {', '.join(unknown)}.")
        entries = [entry for entry in entries if entry.id in ids]
    return [
        Item(entry.id, problem)
        for dtype in dtypes.split(",")
        for layout in layouts.split(",")
        for entry in entries
        for problem in [entry.problem(dtype, "tf32" if dtype == "float32" else "ieee", layout)]
        if layout == "channels_first" or problem.rank > 1
    ]


def command(argv: Sequence[str]) -> str:
    """Return a script's command as a reader would give it: files outside the working directory by name only."""

    def shown(word: str) -> str:
        path = Path(word)
        return path.name if path.is_absolute() or ".." in path.parts else word

    return " ".join(["python", f"scripts/{Path(argv[0]).name}", *map(shown, argv[1:])])
