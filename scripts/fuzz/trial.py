"""What a fuzzing target gives: one module a target, with a function `prepare`."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Target", "Trial"]


class Trial(NamedTuple):
    """What became of one mutated input."""

    failure: str  # what gave way, "" where everything held
    kept: Path  # a folder with the input, to try it again
    figures: dict[str, float]  # numbers of the trial; the largest of each is reported
    kind: str  # of mutation, to count


# prepare(folder) returns the function that runs the trial of a seed; all its files are in that folder.
Target = Callable[[Path], Callable[[int], Trial]]
