"""What a single value of a row may be. A file may hold anything, so everything is checked before it is used or stored."""

from typing import Any

from tunedb.errors import DatabaseError

__all__ = [
    "CONFIG_LENGTH",
    "LARGEST",
    "TEXT_LENGTH",
    "RowError",
    "check_count",
    "check_number",
    "check_text",
    "check_time",
]

CONFIG_LENGTH = 4096  # characters
TEXT_LENGTH = 200  # characters, of every other text
LARGEST = (
    1 << 48
)  # of any size: more than a GPU holds, and products of a few of them are still computed quickly
SHORTEST_US = 1e-9  # of any time: below what 1 byte takes, and the ratio of two times is still a usual number


class RowError(DatabaseError):
    """A row cannot be used. The reader skips it and uses the others."""


def check_text(name: str, value: Any, length: int = TEXT_LENGTH) -> None:
    """Raise RowError for what is no printable text of at most that many characters."""
    # Unprintable characters could send commands to the terminal of a person who lists the file.
    if not isinstance(value, str) or len(value) > length or not value.isprintable():
        raise RowError(
            f"{name} must be printable text of at most {length} characters, but got {value!r:.80}."
        )


def check_number(name: str, value: Any, above: float | None = None) -> None:
    """Raise RowError for what is no finite number of at least 0, or above 0."""
    # The comparison is false for NaN, and unlike math.isfinite it accepts integers of any length.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < LARGEST or value == above:
        least = "above 0" if above == 0 else "of at least 0"
        raise RowError(f"{name} must be a finite number {least}, but got {value!r:.80}.")


def check_time(name: str, value: Any, above: float | None = None) -> None:
    """Raise RowError for what is no time in microseconds. Where it may be 0, that stands for none."""
    check_number(name, value, above)
    if 0 < value < SHORTEST_US:
        raise RowError(f"{name} must be a time of at least {SHORTEST_US} us, but got {value!r:.80}.")


def check_count(name: str, value: Any) -> None:
    """Raise RowError for what is no integer from 0 to LARGEST."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise RowError(f"{name} must be an integer from 0 to {LARGEST}, but got {value!r:.80}.")
