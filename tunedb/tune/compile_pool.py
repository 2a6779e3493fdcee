"""Compile candidates in parallel, each in a process that may die or hang at the cost of one candidate."""

import os
import time
import traceback
from collections import deque
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from tunedb.record import Measurement
from tunedb.tune.workers import resolve, start

__all__ = ["Bug", "CompilePool", "Compiled"]


_START_S = 60.0  # for a new process, before its first task begins


class Bug(NamedTuple):
    """A programming error in a child: no candidate is to blame, so it is never a status."""

    traceback: str


class Compiled(NamedTuple):
    tag: Any  # as submitted
    outcome: Measurement | Bug


class _Task(NamedTuple):
    tag: Any
    args: tuple[Any, ...]


class _Worker:
    """One compile process, started at once and given one task at a time."""

    def __init__(self, compiler: str) -> None:
        self.child = start(_work, compiler)
        self.task: _Task | None = None
        self.ready = False  # it has started, which takes seconds where many start at once
        self.deadline = 0.0


class CompilePool:
    """A fixed number of processes that call `compiler(*args)`; it never blocks except in `next`.

    Written on processes and pipes because concurrent.futures loses every pending task when one
    process dies and cannot end a task that hangs.
    """

    def __init__(self, workers: int, *, compiler: str, timeout_s: float = 60.0) -> None:
        self._compiler = compiler
        self._timeout_s = timeout_s
        self._workers = [_Worker(compiler) for _ in range(max(workers, 1))]
        self._pending: deque[_Task] = deque()
        self._done: deque[Compiled] = deque()

    @property
    def size(self) -> int:
        return len(self._workers)

    @property
    def outstanding(self) -> int:
        """How many tasks have been submitted and not yet been handed back."""
        return len(self._pending) + len(self._done) + sum(worker.task is not None for worker in self._workers)

    def submit(self, tag: Any, *args: Any) -> None:
        self._pending.append(_Task(tag, args))
        self._feed()

    def waitables(self) -> list[Connection]:
        """Return what becomes readable when a task ends."""
        return [worker.child.conn for worker in self._workers if worker.task is not None]

    def patience(self) -> float:
        """Return the seconds until the next task runs out of time."""
        deadlines = [worker.deadline for worker in self._workers if worker.task is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else self._timeout_s

    def collect(self) -> list[Compiled]:
        """Return the tasks that have ended, and give the idle processes new ones."""
        now = time.monotonic()
        for position, worker in enumerate(self._workers):
            if worker.task is None:
                continue
            if worker.child.conn.poll():
                self._done.extend(self._receive(position))
            elif now > worker.deadline:
                detail = f"compilation took longer than {self._timeout_s:g} s"
                self._done.append(Compiled(worker.task.tag, Measurement("timed-out", detail=detail)))
                self._replace(position)
        self._feed()
        ended = list(self._done)
        self._done.clear()
        return ended

    def next(self) -> Compiled:
        """Wait for one task to end."""
        while not self._done:
            if not self.outstanding:
                raise LookupError("the pool must have an outstanding task, but it has none: submit one.")
            wait(self.waitables(), self.patience())
            self._done.extend(self.collect())
        return self._done.popleft()

    def close(self) -> None:
        for worker in self._workers:
            worker.child.kill()
        self._workers.clear()
        self._pending.clear()

    def _receive(self, position: int) -> list[Compiled]:
        worker = self._workers[position]
        assert worker.task is not None
        tag = worker.task.tag
        try:
            outcome: Measurement | Bug | None = worker.child.conn.recv()
        except (EOFError, OSError):
            code = self._replace(position)
            detail = f"the compiler process ended with exit status {code}"
            return [Compiled(tag, Measurement("compile-error", detail=detail))]
        if outcome is None:
            worker.ready = True
            worker.deadline = time.monotonic() + self._timeout_s
            return []
        worker.task = None
        return [Compiled(tag, outcome)]

    def _replace(self, position: int) -> int:
        code = self._workers[position].child.kill()
        self._workers[position] = _Worker(self._compiler)
        return code

    def _feed(self) -> None:
        for position, worker in enumerate(self._workers):
            if not self._pending:
                return
            if worker.task is not None:
                continue
            task = self._pending.popleft()
            try:
                worker.child.conn.send(task.args)
            except OSError:  # it died idle, of memory pressure say: nothing was lost
                self._replace(position)
                self._pending.appendleft(task)
                continue
            worker.task = task
            worker.deadline = time.monotonic() + self._timeout_s + (0.0 if worker.ready else _START_S)


def _work(conn: Connection, compiler: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a context here would take memory from the one that times
    conn.send(None)  # ready
    while True:
        args = conn.recv()
        try:
            outcome: Measurement | Bug = resolve(compiler)(*args)
        except Exception:  # noqa: BLE001 (whatever it is, it is shown whole, by the parent)
            outcome = Bug(traceback.format_exc())
        conn.send(outcome)
