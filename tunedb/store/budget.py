"""What one lookup may take from files, whatever number of queries and files: a hostile or a huge one must not hang it."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

__all__ = ["Budget", "Share", "cut_short", "lookup", "one_lookup", "share", "spend"]

LOOKUP_SECONDS = 1.0  # a sound file of 2 MB takes a few milliseconds
LOOKUP_ROWS = 20_000
LOOKUP_BYTES = 16_000_000  # of text
LOOKUP_VALUE_BYTES = 16_000_000  # SQLite loads a whole value to cut it: one of 16 MB takes 10 ms

# A command waits for what a person has asked for, all of it.
QUERY_SECONDS = 20.0
QUERY_VALUE_BYTES = 256_000_000

_LEAST_SECONDS = 0.01  # enough for a query by index, so that a file that comes last is still asked
_LEAST_ROWS = 64
_LEAST_BYTES = 1_000_000


class Share(NamedTuple):
    """What one query may take."""

    seconds: float
    rows: float
    bytes: float
    value_bytes: int
    whole: bool  # all rows or an error: a command's query. Otherwise what was read in time counts


class Budget:
    """What is left of a lookup's time, rows and bytes.

    A query may take half of what is left, so that a file that takes all it may leaves something for the files and
    tiers after it.
    """

    def __init__(self) -> None:
        self.seconds = LOOKUP_SECONDS
        self.rows = LOOKUP_ROWS
        self.bytes = LOOKUP_BYTES
        self.cut = 0  # queries that did not give all their rows
        self.versions: dict[Any, Any] = {}  # of the files that were asked, when the lookup first asked them

    def share(self) -> Share:
        """Return what the next query may take."""
        return Share(
            max(self.seconds / 2, _LEAST_SECONDS),
            max(self.rows // 2, _LEAST_ROWS),
            max(self.bytes // 2, _LEAST_BYTES),
            LOOKUP_VALUE_BYTES,
            whole=False,
        )

    def spend(self, seconds: float, rows: int, size: int) -> None:
        """Take off what a query took."""
        self.seconds = max(0.0, self.seconds - seconds)
        self.rows = max(0, self.rows - rows)
        self.bytes = max(0, self.bytes - size)


_current: ContextVar[Budget | None] = ContextVar("budget of the lookup", default=None)


@contextlib.contextmanager
def one_lookup() -> Iterator[None]:
    """Let all queries inside share one budget. A lookup inside a lookup is part of it."""
    if _current.get() is not None:
        yield
        return
    token = _current.set(Budget())
    try:
        yield
    finally:
        _current.reset(token)


def share() -> Share:
    """Return what the next query of this thread may take: outside a lookup every row, within QUERY_SECONDS."""
    found = _current.get()
    if found is None:
        return Share(QUERY_SECONDS, float("inf"), float("inf"), QUERY_VALUE_BYTES, whole=True)
    return found.share()


def lookup() -> Budget | None:
    """Return the budget of this thread's lookup; None outside of one."""
    return _current.get()


def cut_short() -> None:
    """Note that a query of this thread's lookup did not give all its rows."""
    found = _current.get()
    if found is not None:
        found.cut += 1


def spend(since: float, rows: int = 0, size: int = 0) -> None:
    """Take off what a query took that began at `since` (time.monotonic)."""
    found = _current.get()
    if found is not None:
        found.spend(time.monotonic() - since, rows, size)
