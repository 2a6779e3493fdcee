"""One process for each GPU: it searches problem after problem, compiles ahead and times what is compiled."""

import math
import os
import time
import traceback
from multiprocessing.connection import Connection, wait

from tunedb.problem import Problem
from tunedb.record import Choice, Measurement
from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.gpu_process import BenchError, PrepareError, Runner
from tunedb.tune.lookahead import Pace
from tunedb.tune.messages import (
    Baseline,
    Began,
    Drop,
    Dropped,
    End,
    Ended,
    Failed,
    Finished,
    Job,
    Kept,
    Looked,
    Setup,
    Want,
)
from tunedb.tune.tuning import Tuning
from tunedb.tune.workers import resolve

__all__ = ["FINALISTS", "drive"]

FINALISTS, EXPECTED = 4, 5  # of a search, and where times are predicted: as many as a confirmation times
IN_FLIGHT = (
    8  # choices under way where times are predicted: the same on every machine, so that the search is too
)
# Choices compiled beyond the trials of a search. For some configs the assembler unrolls the whole loop, which takes ten
# seconds and more; waiting for the last of them left a GPU idle for a quarter of the time. A short stage gets fewer.
_SPARE = 8


class _Driver:
    def __init__(self, conn: Connection, setup: Setup) -> None:
        self._conn = conn
        self._setup = setup
        self._kernels = resolve(setup.parts.kernels)
        # Without a GPU whoever compiles says what is expected as well: it has the machine code.
        compiler = setup.parts.predictor if setup.gpu is None else setup.parts.compiler
        self._pool = CompilePool(setup.workers, compiler=compiler, timeout_s=setup.limits.compile_s)
        self._lookahead = IN_FLIGHT if setup.gpu is None else math.ceil(setup.workers * 1.5)
        self._runner: Runner | None = None
        if setup.gpu is not None:
            self._runner = Runner(
                setup.gpu, setup.device, bench=setup.parts.bench, limits=setup.limits, wait=self._pump
            )
        self._pace = Pace()
        self._environment: dict[str, str] = {}
        self._current: Tuning | None = None
        self._ahead: Tuning | None = None
        self._wanting = False
        self._ending = False  # the time is up
        self._unkept = 0  # trials that the coordinator has not written yet

    def run(self) -> None:
        """Work until the coordinator says stop or is gone."""
        try:
            while True:
                self._current = self._next()
                self._conn.send(Began(self._current.problem))
                try:
                    self._tune(self._current)
                except PrepareError as error:
                    self._conn.send(Failed(self._current.problem, error.state, str(error)))
                except BenchError as error:
                    self._conn.send(_bug(self._current.problem, str(error)))
                except Exception:  # noqa: BLE001 (told whole to the coordinator, which shows it)
                    self._conn.send(_bug(self._current.problem, traceback.format_exc()))
        finally:
            self._pool.close()
            if self._runner is not None:
                self._runner.close()

    def _next(self) -> Tuning:
        self._current = None
        while self._ahead is None:
            self._fill()
            self._pump([], 60.0)
        tuning, self._ahead = self._ahead, None
        return tuning

    def _tune(self, tuning: Tuning) -> None:
        self._fill()
        aten_us = aten_error = aten = None
        if self._runner is not None and not tuning.bug:
            aten_us, aten_error = self._runner.prepare(tuning.problem, look=tuning.look)
            self._conn.send(Baseline(tuning.problem, aten_us))
        if tuning.look and not tuning.bug:
            self._conn.send(Looked(tuning.problem, aten_us))
            return
        while not (tuning.bug or tuning.dropped or tuning.search.finished or self._ending):
            # No trial begins before all earlier ones are in the history: a sweep that is killed loses one at most.
            if tuning.ready and (self._runner is None or not self._unkept):
                choice, compiled = tuning.ready.popleft()
                began = time.monotonic() - tuning.compile_s.pop(choice, 0.0)
                self._tell(tuning, choice, self._outcome(tuning, choice, compiled), began)
            else:
                self._pump([], 60.0)
            self._fill()
        if tuning.bug:
            raise BenchError(tuning.bug)
        if tuning.dropped or (not tuning.search.finished and not tuning.has_news()):
            self._conn.send(Dropped(tuning.problem))
            return
        complete = tuning.search.finished
        finalists = tuning.search.best(FINALISTS if self._runner else EXPECTED)
        if self._runner is not None:
            aten, *timed = self._runner.final([tried.choice for tried in finalists])
            finalists = [
                tried._replace(measurement=_with_resources(measured, tried.measurement))
                for tried, measured in zip(finalists, timed, strict=True)
            ]
            aten_us = aten.time_us or aten_us
        else:
            aten_us = resolve(self._setup.parts.torch_time)(tuning.problem, self._setup.device)
        trials, versions = len(tuning.search.tried), self._versions()
        self._conn.send(Finished(tuning.problem, trials, finalists, aten, aten_us, aten_error, versions, complete))  # fmt: skip

    def _versions(self) -> dict[str, str]:
        if not self._environment:
            source = self._setup.parts.environment
            self._environment = (
                resolve(source)() if self._runner is None else self._runner.environment(source)
            )
        return self._environment

    def _pump(self, conns: list[Connection], seconds: float) -> None:
        """Wait for one of the connections, keeping the compile pool and the coordinator served meanwhile."""
        wait([*conns, *self._pool.waitables(), self._conn], min(seconds, self._pool.patience()))
        self._listen()
        self._collect()
        self._fill()

    def _listen(self) -> None:
        while self._conn.poll():
            try:
                message = self._conn.recv()
            except (EOFError, OSError):
                message = None
            match message:
                case None:
                    raise SystemExit(0)
                case Kept():
                    self._unkept -= 1
                case Drop(problem):
                    self._drop(problem)
                case End():
                    self._ending = True
                    if self._ahead is not None:
                        self._conn.send(Dropped(self._ahead.problem))
                        self._ahead = None
                case Job():
                    self._wanting = False
                    self._ahead = Tuning(message, self._setup, self._kernels, self._spare(message))

    def _drop(self, problem: Problem) -> None:
        if self._current is not None and self._current.problem == problem:
            self._current.dropped = self._current.dry = True
        elif self._ahead is not None and self._ahead.problem == problem:
            self._ahead = None
            self._conn.send(Dropped(problem))

    def _spare(self, job: Job) -> int:
        return 0 if self._runner is None else min(_SPARE, 1 + max(0, job.trials - len(job.past)) // 4)

    def _collect(self) -> None:
        for tag, outcome in self._pool.collect():
            tuning: Tuning
            tuning, choice, submitted = tag
            seconds = time.monotonic() - submitted
            self._pace.compiled(seconds)
            # Its problem has failed or ended meanwhile. A later job of the same problem has a search of its own, which knows
            # nothing of what was spare in this one.
            if tuning.bug or (tuning is not self._current and tuning is not self._ahead):
                continue
            tuning.compile_s[choice] = seconds
            if isinstance(outcome, Bug):
                tuning.bug = outcome.traceback
            else:
                tuning.compiled(choice, outcome)

    def _outcome(self, tuning: Tuning, choice: Choice, compiled: Measurement) -> Measurement:
        if compiled.status != "ok" or tuning.named or self._runner is None:
            return compiled
        begin = time.monotonic()
        measured = self._runner.trial(*choice)
        self._pace.timed(time.monotonic() - begin)
        return _with_resources(measured, compiled)

    def _tell(self, tuning: Tuning, choice: Choice, measurement: Measurement, began: float) -> None:
        tried = tuning.search.tell(choice, measurement)
        if tried is not None:
            self._unkept += 1
            self._conn.send(Ended(tuning.problem, tried, time.monotonic() - began))

    def _fill(self) -> None:
        """Keep the compile pool busy: with the current problem first, then with choices of the next one that need no results."""
        if self._ending:
            return
        limit = self._pace.depth(self._lookahead)
        for tuning in (self._current, self._ahead):
            # What is compiled during a look is only a guess at what comes next: it must not stand in its way.
            room = self._setup.workers if tuning is not None and tuning.look else self._lookahead
            while tuning is not None and self._pool.outstanding < room:
                choice = tuning.ask(limit if tuning is self._current else 0)
                if choice is None:
                    break
                tag = (tuning, choice, time.monotonic())
                self._pool.submit(tag, choice.kernel, tuning.problem, choice.config, self._setup.device)
        if (
            self._ahead is None
            and not self._wanting
            and (self._current is None or self._current.dry or self._current.bug)
        ):
            self._wanting = True
            self._conn.send(Want())


def _with_resources(measurement: Measurement, compiled: Measurement) -> Measurement:
    """Return a measurement, its gaps filled with what the compiler and an earlier run found."""
    fields = ("error", "shared", "registers", "spills")
    return measurement._replace(
        **{name: getattr(compiled, name) for name in fields if getattr(measurement, name) is None}
    )


def _bug(problem: Problem, text: str) -> Failed:
    return Failed(problem, "failed", text.strip().splitlines()[-1], text)


def drive(conn: Connection, setup: Setup) -> None:
    """Run a driver: the entry point of its process."""
    if setup.gpu is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a prediction must not depend on the GPU that is here
    _Driver(conn, setup).run()
