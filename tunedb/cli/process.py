"""The process of a command: how long it has run, and where what it prints goes."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["age_s", "minutes_left", "stdout_to_stderr"]

_LONGEST_START_S = 60.0


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what this process and its children print to standard error: a compiler may print, and JSON stands alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def age_s() -> float:
    """Return the seconds since this process began, 0 where that is not known or where it is not the command's own.

    To import torch takes a few of them, and the minutes that a person gives are those of the whole command.
    """
    try:
        fields = (
            Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return 0.0
    program = Path(sys.argv[0])  # python -m tunedb is the command too
    own = program.stem == "tunedb" or program.parts[-2:] == ("tunedb", "__main__.py")
    return age if own and 0 < age < _LONGEST_START_S else 0.0


def minutes_left(minutes: float | None) -> float | None:
    """Return what is left of the minutes that a person gave to the whole command; None stays None."""
    return minutes and max(0.001, minutes - age_s() / 60)
