"""A sweep: problems in, records out, over one process a GPU."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tunedb.device import Device
from tunedb.errors import DatabaseError
from tunedb.problem import Problem
from tunedb.tune import driver
from tunedb.tune.gpu_process import Limits
from tunedb.tune.journal import sizes
from tunedb.tune.progress import Progress, Summary
from tunedb.tune.state import Ledger
from tunedb.tune.workers import Parts, start

__all__ = ["sweep"]

_PARTS = Parts()
_LIMITS = Limits()
_BEAT_S = 5.0
_LOOK_S = 2.0  # how often problems of another sweep are looked at
_DEATHS = 2  # of drivers, on one problem or before any: then it is given up


def sweep(
    problems: Sequence[Problem],
    *,
    device: Device,
    provenance: str,
    trials: int,
    gpus: Sequence[int] = (0,),
    storage: str,
    db: Path,
    triton_db: Path | None = None,
    workers: int | None = None,
    deadline_s: float | None = None,
    labels: Mapping[Problem, str] | None = None,
    progress: Progress | None = None,
    parts: Parts = _PARTS,
    limits: Limits = _LIMITS,
) -> Summary:
    """Tune every problem, write its record to `db` as soon as it is known, and return what it came to.

    `provenance` is "measured", with one driver for each of `gpus`, or "predicted", with one driver and no GPU.
    `storage` is a journal file, or an RDB URL if it contains "://". `workers` are compile processes a GPU;
    by default the cores are shared out. After `deadline_s` seconds it stops as Ctrl-C does: every finished
    trial is kept and the next sweep goes on there. `labels` are names for people. `triton_db` is a second database,
    whose records torch's own kernel cannot win: of the same finals, so that it costs no GPU time.
    Raises StorageError, DatabaseError: where the history or a database cannot be opened.
    """
    if triton_db is not None and triton_db.resolve() == db.resolve():
        raise DatabaseError(
            f"triton_db must be another file than db, whose answers may be torch's, but both are {db}: name another file."
        )
    slots: list[int | None] = list(gpus) if provenance == "measured" else [None]
    named = {problem: (labels or {}).get(problem) or _label(problem) for problem in dict.fromkeys(problems)}
    shown = progress or Progress()
    with Ledger(
        named,
        device=device,
        provenance=provenance,
        trials=trials,
        storage=storage,
        db=db,
        triton_db=triton_db,
        parts=parts,
        progress=shown,
    ) as ledger:
        setups = [
            driver.Setup(device, gpu, workers or _workers(len(slots), gpu), parts, limits) for gpu in slots
        ]
        crew = _Crew(ledger, setups, shown, None if deadline_s is None else time.monotonic() + deadline_s)
        with _stoppable(crew):
            try:
                crew.run()
            finally:
                crew.close()
                summary = ledger.summary(gpus=len(gpus) if provenance == "measured" else 0, ended=crew.ended)
                shown.end(summary)
    return summary


class _Hand:
    """A driver as the coordinator sees it."""

    def __init__(self, slot: int, setup: driver.Setup) -> None:
        self.slot = slot
        self.setup = setup
        self.wants = False
        self.jobs: list[Problem] = []  # the one under way, and perhaps the next
        self.deaths = 0  # in a row, with no job to blame
        self.start()

    def start(self) -> None:
        self.wants = False
        self.child = start(driver.drive, self.setup)

    def tell(self, message: driver.Job | driver.Kept | None) -> None:
        with contextlib.suppress(OSError):  # it has died: the closed pipe says so when it is read
            self.child.conn.send(message)


class _Crew:
    """Hands problems to drivers, one at a time and one ahead, and passes on what they say."""

    def __init__(
        self, ledger: Ledger, setups: Sequence[driver.Setup], progress: Progress, deadline: float | None
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._deadline = deadline
        self._deaths: dict[Problem, int] = {}
        self._beaten = self._looked = time.monotonic()
        self.ended = ""
        self._hands = [] if ledger.settled else [_Hand(slot, setup) for slot, setup in enumerate(setups)]

    def run(self) -> None:
        while self._hands and not self.ended:
            self._hand_out()
            if self._ledger.settled and not any(hand.jobs for hand in self._hands):
                return
            self._serve(0.3)
            self._ledger_chores()
            if self._deadline is not None and time.monotonic() > self._deadline:
                self.ended = "time limit"
        if not self.ended and not self._ledger.settled:
            self._ledger.give_up("every driver process died before it could begin: see what it printed")

    def close(self) -> None:
        """Stop the drivers; trials that they have finished are still taken down."""
        for hand in self._hands:
            hand.tell(None)
        patience = time.monotonic() + 3.0
        open_hands = list(self._hands)
        while open_hands and time.monotonic() < patience:
            for hand in list(open_hands):
                if hand.child.conn.poll(0.05):
                    try:
                        self._hear(hand, hand.child.conn.recv())
                    except (EOFError, OSError):
                        open_hands.remove(hand)
        for hand in self._hands:
            hand.child.kill()
            for problem in hand.jobs:
                self._ledger.hand_back(problem)
        self._hands.clear()

    def _hand_out(self) -> None:
        for hand in self._hands:
            if not hand.wants:
                continue
            job = self._ledger.take()
            if job is None:
                return
            hand.wants = False
            hand.jobs.append(job.problem)
            hand.tell(job)

    def _serve(self, seconds: float) -> None:
        hands = {hand.child.conn: hand for hand in self._hands}
        for conn in wait(list(hands), seconds):
            hand = hands[conn]  # type: ignore[index]  # only connections were given
            try:
                while hand.child.conn.poll():
                    self._hear(hand, hand.child.conn.recv())
            except (EOFError, OSError):
                self._replace(hand)

    def _hear(self, hand: _Hand, message: Any) -> None:
        match message:
            case driver.Want():
                hand.wants = True
            case driver.Began(problem):
                self._progress.started(hand.slot, self._ledger.labels[problem], self._ledger.ended(problem))
            case driver.Baseline(_, aten_us):
                self._progress.baseline(hand.slot, aten_us)
            case driver.Ended(problem, tried):
                hand.deaths = 0
                self._ledger.append(problem, tried)
                hand.tell(driver.Kept())
                self._progress.trial(hand.slot, self._ledger.labels[problem], tried)
            case driver.Finished(problem):
                hand.jobs.remove(problem)
                self._ledger.finish(hand.slot, message)
            case driver.Failed(problem, state, cause, bug):
                hand.jobs.remove(problem)
                self._ledger.fail(hand.slot, problem, state, cause, bug)

    def _replace(self, hand: _Hand) -> None:
        """Start a dead driver anew; the problem that it was at is to blame when that happens twice."""
        code = hand.child.kill()
        lost, hand.jobs = hand.jobs, []
        if not lost:
            hand.deaths += 1
        for position, problem in enumerate(lost):
            self._deaths[problem] = self._deaths.get(problem, 0) + (position == 0)
            if self._deaths[problem] >= _DEATHS:
                self._ledger.fail(
                    hand.slot,
                    problem,
                    "failed",
                    f"the driver process died {_DEATHS} times, last with exit status {code}",
                )
            else:
                self._ledger.hand_back(problem)
        self._progress.note(f"The driver of slot {hand.slot} ended with exit status {code}.")
        if hand.deaths >= _DEATHS:
            self._hands.remove(hand)
        else:
            hand.start()

    def _ledger_chores(self) -> None:
        now = time.monotonic()
        if now - self._beaten > _BEAT_S:
            self._beaten = now
            self._ledger.beat([problem for hand in self._hands for problem in hand.jobs])
        if now - self._looked > _LOOK_S:
            self._looked = now
            self._ledger.look_elsewhere()


@contextlib.contextmanager
def _stoppable(crew: _Crew) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the sweep in good order; only the main thread may listen to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        crew.ended = "interrupted"

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _workers(drivers: int, gpu: int | None) -> int:
    """Return how many compile processes a driver gets: the GPU process spins, the driver needs a part of a core."""
    cores = len(os.sched_getaffinity(0)) // drivers
    return max(1, cores if gpu is None else cores - 2)


def _label(problem: Problem) -> str:
    return f"{problem.op} {problem.dtype}/{problem.precision} {problem.layout} {sizes(problem)}"
