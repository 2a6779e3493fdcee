"""One class for each thing that a caller can do differently."""

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
]


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
