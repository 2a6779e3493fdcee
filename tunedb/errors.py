"""One class for each thing that a caller can do differently, and how a message quotes what it was given."""

import reprlib
from typing import Any

__all__ = [
    "CaptureError",
    "ConfigError",
    "DatabaseError",
    "DeviceError",
    "KernelError",
    "ProblemError",
    "StorageError",
    "SuiteError",
    "TunedbError",
    "TunedbWarning",
    "printable",
    "quoted",
]

QUOTED = 80  # characters of a value that a message repeats


class TunedbError(Exception):
    """Any failure that tunedb explains: the rule, the value, what is allowed and the remedy."""


class ProblemError(TunedbError, ValueError):
    """The sizes or names of a problem contradict each other: correct them."""


class ConfigError(TunedbError, ValueError):
    """A config does not belong to its kernel's space: take another one."""


class DeviceError(TunedbError):
    """No such GPU is known or present: name another one."""


class CaptureError(TunedbError):
    """A call cannot be captured in a CUDA graph yet: make it once before the capture."""


class KernelError(TunedbError, KeyError):
    """No kernel of that name is installed."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0]) if self.args else ""


class SuiteError(TunedbError, ValueError):
    """A suite is unknown or a line of its file is wrong: mend the file."""


class DatabaseError(TunedbError):
    """A database file cannot be read or written: take another file."""


class StorageError(TunedbError):
    """The search history cannot be opened: take another storage."""


class TunedbWarning(UserWarning):
    """Something was left aside and the next tier answers."""


def quoted(value: Any, most: int = QUOTED) -> str:
    """Return any value as a message repeats it: like repr, in printable text of at most so many characters.

    It takes no longer for a long value than for a short one, so an input cannot make its own error message expensive.
    """
    short = _Short()
    short.maxstring = short.maxother = most
    return printable(short.repr(value), most)


def printable(text: str, most: int | None = 200) -> str:
    """Return text as a terminal, UTF-8 and a person can take it: escapes for what is unprintable, cut to so many characters."""
    cut = text if most is None else text[: most + 1]
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)
    return shown if most is None or len(shown) <= most else f"{shown[: most - 3]}..."


class _Short(reprlib.Repr):
    def repr_int(self, value: int, _: int) -> str:
        # Python refuses to print a number of more than 4,300 digits, and takes quadratic time where it is made to.
        return repr(value) if abs(value) < 10**self.maxlong else f"a number of {value.bit_length()} bits"
