"""What ends a sweep or a confirmation before its problems do: Ctrl-C, SIGTERM or a time limit."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from tunedb.tune.settings import Settings

__all__ = ["Stop", "stoppable"]


class Stop:
    """What ends the work before its problems do: a signal, or its time limit (of time.monotonic)."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.signalled = ""  # "interrupted" or "terminated"

    @classmethod
    def of(cls, settings: Settings, began: float) -> "Stop":
        """Return the stop at the time limit of the settings, if they have one."""
        return cls(began + (math.inf if settings.deadline_s is None else settings.deadline_s))

    def reached(self) -> bool:
        return bool(self.why())

    def why(self) -> str:
        if self.signalled:
            return self.signalled
        return "time limit" if time.monotonic() > self._deadline else ""


@contextlib.contextmanager
def stoppable(stopped: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the sweep in good order; only the main thread may listen to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: Any) -> None:
        stopped.signalled = "terminated" if number == signal.SIGTERM else "interrupted"

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
