"""The coordinator: gives problems to one driver process a GPU, passes on what they report, and ends in good order."""

import contextlib
import math
import os
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from tunedb.errors import TunedbError
from tunedb.tune import messages
from tunedb.tune.driver import drive
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.stop import Stop, stoppable
from tunedb.tune.summary import Summary
from tunedb.tune.work import Work
from tunedb.tune.workers import start

if TYPE_CHECKING:
    from tunedb.problem import Problem

__all__ = ["work_through"]

_HEARTBEAT_S = 5.0
_LOOK_S = 2.0  # how often problems that another sweep works on are looked at
# Of a sweep for some minutes: it calls the searches in so long before their end, which is what a final pass takes, and
# gives them so long after it.
_FINAL_S = 1.5
_PATIENCE_S = 5.0
_DEATHS = 2  # of drivers, on one problem or before any problem: then that is given up


def work_through(
    work: Work, settings: Settings, progress: Progress, began: float, stop: Stop | None = None
) -> Summary:
    """Do all the work, or what there is time for, and show and return what it came to.

    `began` is time.monotonic() of the start, from which the minutes and the time limit of the settings count. Ctrl-C and
    SIGTERM end it in good order.
    """
    stop = stop or Stop.of(settings, began)
    workers = _Workers(work, settings, progress, began, stop)
    with stoppable(stop):
        try:
            workers.run()
        finally:
            workers.close()
            gpus = len(settings.gpus) if settings.provenance == "measured" else 0
            summary = work.summary(gpus=gpus, ended=workers.ended)
            progress.end(summary)
    return summary


class _Worker:
    """A driver as the coordinator sees it."""

    def __init__(self, slot: int, setup: messages.Setup) -> None:
        self.slot = slot
        self.setup = setup
        self.wants = False
        self.jobs: list[Problem] = []  # the one under way, and perhaps the next
        self.began = 0.0  # when that one did
        self.deaths = 0  # in a row, with no job to blame
        self.start()

    def start(self) -> None:
        self.wants = False
        self.child = start(drive, self.setup)

    def seconds(self) -> float:
        """Return how long the job under way has taken."""
        return time.monotonic() - self.began

    def tell(self, message: messages.Job | messages.Kept | messages.Drop | messages.End | None) -> None:
        with contextlib.suppress(OSError):  # it has died: the closed pipe says so when it is read
            self.child.conn.send(message)


class _Workers:
    """The drivers: gives each one problem at a time and the next one ahead, and passes on what they report."""

    def __init__(self, state: Work, settings: Settings, progress: Progress, began: float, stop: Stop) -> None:
        self._state = state
        self._progress = progress
        self._stop = stop
        self._end = began + (math.inf if settings.minutes is None else 60 * settings.minutes)
        self._deaths: dict[Problem, int] = {}
        self._sent_heartbeat = self._last_look = time.monotonic()
        self.ended = "it only collects" if settings.collect and not state.settled else ""
        slots = [] if state.settled or settings.collect else settings.slots
        self._workers = [
            _Worker(slot, messages.Setup(gpu, settings.workers or _compilers(len(slots), gpu), settings))
            for slot, gpu in enumerate(slots)
        ]

    def run(self) -> None:
        while self._workers and not self.ended:
            if self._stop.reached():
                self.ended = self._stop.why()
                return
            self._hand_out()
            if self._state.settled and not any(worker.jobs for worker in self._workers):
                return
            self._serve(0.3)
            self._look_around()
            if time.monotonic() > self._end - _FINAL_S:
                self._call_in()
        if not self.ended and not self._state.settled:
            self._state.give_up("every driver process died before it could begin: see what it printed")

    def _call_in(self) -> None:
        """Let every search under way end with its final pass, as far as the patience goes."""
        self.ended = "minutes are over"
        for worker in self._workers:
            worker.tell(messages.End())
        patience = self._end + _PATIENCE_S
        while any(worker.jobs for worker in self._workers) and time.monotonic() < patience:
            if self._stop.signalled:
                self.ended = self._stop.why()
                return
            self._serve(0.1)

    def close(self) -> None:
        """Stop the drivers; trials that they have finished are still taken down.

        Where the history can no longer be written, nothing more is: the error that said so is on its way. A problem that
        could not be given back is free all the same, since its owner has ended.
        """
        for worker in self._workers:
            worker.tell(None)
        patience = time.monotonic() + 3.0
        still_open = list(self._workers)
        while still_open and time.monotonic() < patience:
            for worker in list(still_open):
                if worker.child.conn.poll(0.05):
                    try:
                        self._hear(worker, worker.child.conn.recv())
                    except (EOFError, OSError, TunedbError):
                        still_open.remove(worker)
        for worker in self._workers:
            worker.child.kill()
        with contextlib.suppress(TunedbError):
            for worker in self._workers:
                for problem in worker.jobs:
                    self._state.hand_back(problem)
        self._workers.clear()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if not worker.wants:
                continue
            job = self._state.take()
            if job is None:
                return
            worker.wants = False
            worker.jobs.append(job.problem)
            worker.tell(job)

    def _serve(self, seconds: float) -> None:
        workers = {worker.child.conn: worker for worker in self._workers}
        for conn in wait(list(workers), seconds):
            worker = workers[conn]  # type: ignore[index]  # only connections were given
            try:
                while worker.child.conn.poll():
                    self._hear(worker, worker.child.conn.recv())
            except (EOFError, OSError):
                self._replace(worker)

    def _hear(self, worker: _Worker, message: Any) -> None:
        match message:
            case messages.Want():
                worker.wants = True
            case messages.Began(problem):
                worker.began = time.monotonic()
                state, label = self._state, self._state.labels[problem]
                self._progress.started(
                    worker.slot, label, state.ended(problem), state.asked(problem), state.open_us(problem)
                )
            case messages.Baseline(_, aten_us):
                self._progress.baseline(worker.slot, aten_us)
            case messages.Ended(problem, tried, seconds):
                worker.deaths = 0
                kept = self._state.append(problem, tried, seconds)
                worker.tell(messages.Kept())
                if kept:
                    self._progress.trial(worker.slot, self._state.labels[problem], tried)
                else:
                    worker.tell(messages.Drop(problem))
            case messages.Looked(problem, aten_us):
                worker.jobs.remove(problem)
                self._state.look(worker.slot, problem, aten_us, worker.seconds())
            case messages.Dropped(problem):
                worker.jobs.remove(problem)
                self._state.hand_back(problem)
            case messages.Finished(problem):
                worker.jobs.remove(problem)
                self._state.finish(worker.slot, message, worker.seconds())
            case messages.Failed(problem, state, cause, bug):
                worker.jobs.remove(problem)
                self._state.fail(worker.slot, problem, state, cause, bug)

    def _replace(self, worker: _Worker) -> None:
        """Restart a dead driver; a problem during which drivers died twice is given up."""
        code = worker.child.kill()
        lost, worker.jobs = worker.jobs, []
        if not lost:
            worker.deaths += 1
        for position, problem in enumerate(lost):
            self._deaths[problem] = self._deaths.get(problem, 0) + (position == 0)
            if self._deaths[problem] >= _DEATHS:
                self._state.fail(
                    worker.slot,
                    problem,
                    "failed",
                    f"the driver process died {_DEATHS} times, last with exit status {code}",
                )
            else:
                self._state.hand_back(problem)
        self._progress.note(f"The driver of slot {worker.slot} ended with exit status {code}.")
        if worker.deaths >= _DEATHS or self.ended:
            self._workers.remove(worker)
        else:
            worker.start()

    def _look_around(self) -> None:
        now = time.monotonic()
        if now - self._sent_heartbeat > _HEARTBEAT_S:
            self._sent_heartbeat = now
            for worker in self._workers:
                for problem in self._state.heartbeat(worker.jobs):
                    worker.tell(messages.Drop(problem))
        if now - self._last_look > _LOOK_S:
            self._last_look = now
            self._state.look_elsewhere()


def _compilers(drivers: int, gpu: int | None) -> int:
    """Return how many compile processes a driver gets: the GPU process spins, the driver needs a part of a core."""
    cores = len(os.sched_getaffinity(0)) // drivers
    return max(1, cores if gpu is None else cores - 2)
