"""The one process that uses a GPU, and what happens when it crashes or hangs."""

import os
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from tunedb.device import Device
from tunedb.measure.gpu_failure import is_gpu_failure, is_out_of_memory
from tunedb.problem import Problem
from tunedb.record import Measurement
from tunedb.tune.compile_pool import Bug
from tunedb.tune.workers import Child, resolve, start

__all__ = ["BenchError", "Limits", "PrepareError", "Prepared", "Runner"]

Wait = Callable[
    [list[Connection], float], Any
]  # returns when one is readable, or after so many seconds, or before


class Limits(NamedTuple):
    """Seconds that a call may take; a new GPU process needs some of `prepare_s` to import torch."""

    compile_s: float = 60.0
    prepare_s: float = 120.0
    trial_s: float = 20.0
    final_s: float = 60.0


_LIMITS = Limits()


class Prepared(NamedTuple):
    """What torch's own kernel needs for the problem."""

    aten_us: float | None
    aten_error: float | None  # None where only the time was asked for


class PrepareError(Exception):
    """The problem cannot be set up on this GPU; `state` is the state it ends in."""

    def __init__(self, state: str, cause: str) -> None:
        super().__init__(cause)
        self.state = state


class BenchError(Exception):
    """The bench has a programming error; the text is its traceback."""


class _Failure(NamedTuple):
    """A call that the GPU, not our code, made fail."""

    status: str
    detail: str
    poisoned: bool  # the process cannot go on: its context is lost


class Runner:
    """Runs a bench in a child that sees one GPU, and replaces the child when it crashes or hangs."""

    def __init__(
        self, gpu: int, device: Device, *, bench: str, limits: Limits = _LIMITS, wait: Wait = wait
    ) -> None:
        self._visible = _visible(gpu)
        self._device = device
        self._bench = bench
        self._limits = limits
        self._wait = wait
        self._problem: Problem | None = None
        self._ready = False  # the child has the problem's tensors
        self._child = self._start()

    def environment(self, source: str) -> dict[str, str]:
        """Return the versions that the child runs on; `source` names the function that knows them."""
        outcome = self._call(self._limits.prepare_s, "environment", source)
        return {} if isinstance(outcome, _Failure) else dict(outcome)

    def prepare(self, problem: Problem, *, look: bool = False) -> Prepared:
        """Make tensors and reference for a problem, and time torch's own kernel. To `look` is to do without the reference.

        Raises PrepareError: where that fails or hangs. BenchError: where the bench is wrong.
        """
        self._problem, self._ready = problem, False
        outcome = self._call(self._limits.prepare_s, "prepare", problem, self._device, look)
        if isinstance(outcome, _Failure):
            if not outcome.poisoned:
                self._replace()  # out of memory, often: start the next problem with all of it
            raise PrepareError(
                "timed out" if outcome.status == "timed-out" else "failed", f"prepare: {outcome.detail}"
            )
        self._ready = True
        return Prepared(*outcome)

    def trial(self, kernel: str, config: str) -> Measurement:
        """Verify and time one candidate. Raises PrepareError: where a replaced child cannot be set up again."""
        self._restore()
        outcome = self._call(self._limits.trial_s, "trial", kernel, config)
        return self._measured(outcome)

    def final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        """Time aten and the candidates, interleaved; aten is the first measurement returned.

        Where that crashes or hangs, each candidate is tried alone, so that it costs nobody else.
        Raises PrepareError: where a replaced child cannot be set up again.
        """
        self._restore()
        outcome = self._call(self._limits.final_s, "final", list(candidates))
        if not isinstance(outcome, _Failure):
            return list(outcome)
        if not candidates:
            return [self._measured(outcome)]
        if len(candidates) == 1:
            lost = self._measured(outcome)
            return [*self.final([]), lost]
        alone = [self.final([candidate]) for candidate in candidates]
        return [alone[0][0], *(pair[1] for pair in alone)]

    def close(self) -> None:
        self._child.kill()

    def _measured(self, outcome: Any) -> Measurement:
        if isinstance(outcome, _Failure):
            return Measurement(outcome.status, detail=outcome.detail)
        assert isinstance(outcome, Measurement)
        if outcome.status == "crashed":  # the bench saw its context die
            self._replace()
        return outcome

    def _restore(self) -> None:
        if not self._ready:
            assert self._problem is not None, "prepare comes first"
            self.prepare(self._problem)

    def _call(self, limit_s: float, *message: Any) -> Any:
        deadline = time.monotonic() + limit_s
        try:
            self._child.conn.send(message)
            while not self._child.conn.poll():
                left = deadline - time.monotonic()
                if left <= 0:
                    self._replace()
                    return _Failure("timed-out", f"took longer than {limit_s:g} s", poisoned=True)
                self._wait([self._child.conn], left)
            reply = self._child.conn.recv()
        except (EOFError, OSError):
            code = self._replace()
            return _Failure("crashed", f"the GPU process ended with exit status {code}", poisoned=True)
        if isinstance(reply, Bug):
            raise BenchError(reply.traceback)
        if isinstance(reply, _Failure) and reply.poisoned:
            self._replace()
        return reply

    def _replace(self) -> int:
        code = self._child.kill()
        self._ready = False
        self._child = self._start()
        return code

    def _start(self) -> Child:
        return start(_serve, self._visible, self._bench)


def _visible(gpu: int) -> str:
    """Return CUDA_VISIBLE_DEVICES for a child that may see only that one of the GPUs visible here."""
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return given[gpu] if gpu < len(given) else str(gpu)


def _serve(conn: Connection, visible: str, bench_name: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # before torch is imported
    bench: Any = None
    while True:
        call, *args = conn.recv()
        try:
            if call == "prepare":
                if bench is not None:
                    bench.close()
                bench = None  # so that a failure leaves nothing half-made behind
                problem, device, look = args
                bench = resolve(bench_name)(problem, 0, device=device)
                reply: Any = (bench.aten_us, None if look else bench.aten_error)
            elif call == "environment":
                reply = resolve(args[0])()
            else:
                reply = getattr(bench, call)(*args)
        except Exception as error:  # noqa: BLE001 (sorted here: the GPU's failure, or a bug of ours)
            reply = _failure(error) or Bug(traceback.format_exc())
        conn.send(reply)


def _failure(error: Exception) -> _Failure | None:
    """Return what the GPU did, or None where the error is our own."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
    if is_out_of_memory(error):
        return _Failure("out-of-resources", text, poisoned=False)
    if is_gpu_failure(error):
        return _Failure("crashed", text, poisoned=True)
    return None
