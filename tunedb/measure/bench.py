"""The bench: one problem's tensors on one GPU, and candidates verified and timed on them.

A candidate's memory is freed after its trial. Its machine code (tens of kilobytes) stays loaded until the process
ends, because Triton cannot unload it.
"""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tunedb.compile import failure, telling_line
from tunedb.device import Device, floor_us
from tunedb.errors import ConfigError
from tunedb.kernel import Run, config_from_json, load
from tunedb.measure.baseline import SCALE, SHORT_ROUNDS, SHORT_US, Yardstick
from tunedb.measure.gpu_failure import is_gpu_failure, is_out_of_memory
from tunedb.measure.timing import Call, Clock, GpuClock, is_wide, rounds_within, spread, timed
from tunedb.measure.verification import Watched
from tunedb.measure.versions import environment
from tunedb.problem import Problem
from tunedb.record import Measurement, Tried, tied

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bench", "PoisonedError", "environment"]

Launcher = Callable[..., Callable[..., None]]

HOPELESS = 4.0  # times slower than the best so far: such a candidate is timed once, and where that is quick once more
QUICK_US = 10e3
FINAL_US = 400e3  # of the final, all candidates together
FINAL_ROUNDS = (7, 40)
AGAIN = 2  # times that a final is made longer while a spread is wide
# Calls of each finalist that may win. Of one that is wrong once in a hundred calls, 700 miss every wrong one once in a thousand times.
STRESS = (20, 700)
STRESS_US = 120e3  # for each of them
STRESS_EACH_US = 60.0  # what the host needs for one, about


class PoisonedError(RuntimeError):
    """The CUDA context of this process is lost: end the process and start another."""


class Bench:
    """A problem set up on a GPU. Attributes: aten_us, aten_error, floor_us."""

    def __init__(
        self,
        problem: Problem,
        device_index: int,
        *,
        device: Device | None = None,
        clock: Clock | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Make the problem's tensors, and time torch's own kernel. The float64 reference is made when it is first needed.

        `device` is the GPU of that index, by default running its own generation's code.
        Raises what torch raises where the problem does not fit the GPU or torch cannot compute it.
        """
        self.problem = problem
        self._clock = clock or GpuClock(device_index, device)
        self._launcher = launcher
        self._yardstick = Yardstick(problem, self._clock)
        self.floor_us = floor_us(problem, self._clock.device)
        self.aten_us = self._best_us = self._yardstick.aten_us
        self._baseline: int | None = None  # bytes of the problem itself, once its reference is there

    @property
    def aten_error(self) -> float:
        """Torch's error against float64. The first to ask pays for the reference."""
        self._refer()
        return self._yardstick.aten_error

    def trial(self, kernel: str, config: str) -> Measurement:
        """Verify one candidate against float64 and against torch, then time it for about 15 ms.

        Raises PoisonedError: where the candidate has broken the GPU process for all that follow.
        """
        if kernel == "aten":
            return self._yardstick.aten
        self._refer()
        measured = self._guarded(lambda: self._trial(kernel, config))
        left = self._left_behind()
        if left and measured.status == "wrong":
            left = f"{measured.detail}; {left}"
        return _wrong(measured, left) if left else measured

    def final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        """Verify the candidates again and time torch and them in turn, about 0.4 s in all.

        The first of the list is torch's; the others are the candidates' in their order, torch left out.
        Raises PoisonedError: as `trial`.
        """
        others = [candidate for candidate in candidates if candidate[0] != "aten"]
        self._refer()
        measured = self._final(others)
        if left := self._left_behind():  # by which of them is not known: none is trusted
            measured[1:] = [_wrong(one, left) if one.status == "ok" else one for one in measured[1:]]
        return measured

    def close(self) -> None:
        """Free the tensors and forget the loaded kernels."""
        del self._yardstick
        if "tunedb.launch" in sys.modules:
            sys.modules["tunedb.launch"].clear()
        gc.collect()
        if self._clock.place.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _refer(self) -> None:
        """Make the reference, before any trial: its memory is not what a trial has left behind."""
        if self._baseline is None:
            self._yardstick.refer()
            self._baseline = self._clock.allocated()

    def _trial(self, kernel: str, config: str) -> Measurement:
        plan = self._plan(kernel, config)
        if isinstance(plan, Measurement):
            return plan
        out = self._yardstick.output()
        watched = Watched(self._call(plan, out), out)
        try:
            measured = self._yardstick.judge(watched.first(self._clock.hold))
            times = self._short(watched.poisoned()) if measured.status == "ok" else []
            if times:
                watched.after()
            if flaw := self._yardstick.damage(out) or watched.differing():
                return _wrong(measured, flaw)
            if times:
                self._best_us = min(self._best_us, spread(times)[0])
            return timed(measured, times)
        finally:
            _forget(plan)

    def _short(self, call: Call) -> list[float]:
        first = self._clock.times_us([call], 1)
        if HOPELESS * self._best_us < first[0][0] < QUICK_US:
            # One repetition may be disturbed: a kernel of 6 us was seen to take 353.
            first = min(first, self._clock.times_us([call], 1))
        if first[0][0] > HOPELESS * self._best_us:
            return first[0]
        rounds = rounds_within(SHORT_US, first, SHORT_ROUNDS)
        return first[0] + self._clock.times_us([call], rounds - 1)[0]

    def _final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        out = self._yardstick.output()
        entered: dict[int, Watched] = {}
        plans: list[Run] = []
        try:
            measured = [
                self._guarded(partial(self._entered, index, one, out, entered, plans))
                for index, one in enumerate(candidates)
            ]
            self._clock.quality()  # from here on late repetitions are the final's, not the trials'
            calls: list[Call] = [self._yardstick.torch_call, *entered.values()]
            calls[0]()
            times = self._clock.times_us(calls, 1)
            rounds = rounds_within(FINAL_US, times, FINAL_ROUNDS)
            times = self._longer(times, calls, rounds - 1)
            for _ in range(AGAIN):
                if not any(map(is_wide, times)):
                    break
                times = self._longer(times, calls, rounds)
            quality = self._clock.quality()
            for (index, watched), mine in zip(entered.items(), times[1:], strict=True):
                measured[index] = timed(measured[index], mine, quality)
                measured[index] = self._guarded(partial(self._still_right, measured[index], watched))
            self._stress(measured, entered)
        finally:
            for plan in plans:
                _forget(plan)
        return [timed(self._yardstick.aten, times[0], quality), *measured]

    def _longer(self, times: list[list[float]], calls: Sequence[Call], rounds: int) -> list[list[float]]:
        return [a + b for a, b in zip(times, self._clock.times_us(calls, rounds), strict=True)]

    def _entered(
        self,
        index: int,
        candidate: tuple[str, str],
        out: "Tensor",
        entered: dict[int, Watched],
        plans: list[Run],
    ) -> Measurement:
        """Verify a finalist; note its call if it may take part."""
        plan = self._plan(*candidate)
        if isinstance(plan, Measurement):
            return plan
        plans.append(plan)
        watched = Watched(self._call(plan, out), out)
        measured = self._yardstick.judge(watched.first(self._clock.hold))
        if flaw := self._yardstick.damage(out):
            return _wrong(measured, flaw)
        if measured.status == "ok":
            entered[index] = watched
        return measured

    def _still_right(self, measured: Measurement, watched: Watched) -> Measurement:
        """Judge a finalist again, whole, after its timed repetitions, and with an input of another scale."""
        judge = self._yardstick.judge
        flaw = watched.differing()
        if not flaw:
            flaw = judge(watched.first(self._clock.hold)).detail
        if not flaw:
            with self._yardstick.scaled():
                result = watched()  # over the last result: who leaves what it finds there is seen
            if reason := self._yardstick.judge_scaled(result).detail:
                flaw = f"with an input {SCALE} times as large: {reason}"
        flaw = self._yardstick.damage(watched.out) or flaw
        return _wrong(measured, flaw) if flaw else measured

    def _stress(self, measured: list[Measurement], entered: Mapping[int, Watched]) -> None:
        """Call each finalist that may win so often that a result which is wrong once in a hundred calls shows.

        Those are the fastest and what cannot be told from it; where one falls out, others may.
        """

        def often(index: int) -> Measurement:
            one, watched = measured[index], entered[index]
            count = int(STRESS_US / ((one.time_us or 0.0) + STRESS_EACH_US))
            watched.again(max(STRESS[0], min(STRESS[1], count)))
            flaw = watched.differing() or self._yardstick.damage(watched.out)
            return _wrong(one, flaw) if flaw else one

        stressed: set[int] = set()
        while True:
            may_win = {
                int(one.kernel) for one in tied([Tried(str(index), "", measured[index]) for index in entered])
            }
            if not may_win - stressed:
                return
            for index in sorted(may_win - stressed):
                measured[index] = self._guarded(partial(often, index))
            stressed |= may_win

    def _call(self, plan: Run, out: "Tensor") -> "Callable[[], Tensor]":
        return partial(plan, *self._yardstick.tensors, out=out)

    def _plan(self, kernel: str, config: str) -> Run | Measurement:
        module = load(kernel)
        try:
            parsed = config_from_json(module, config)
        except ConfigError as error:
            return Measurement("invalid", detail=str(error))
        if reason := module.valid(self.problem, parsed, self._clock.device):
            return Measurement("invalid", detail=reason)
        return module.plan(self.problem, parsed, self._launcher or _launcher(self._clock.device))

    def _guarded(self, work: Callable[[], Measurement]) -> Measurement:
        """Turn the GPU's failures into measurements; errors of our own propagate."""
        try:
            return work()
        except Exception as error:
            failed = self._failed(error)
            if failed is None:
                raise
        return failed

    def _failed(self, error: Exception) -> Measurement | None:
        if is_out_of_memory(error):
            return Measurement("out-of-resources", detail=telling_line(str(error)))
        if failed := failure(error):
            return failed
        if not is_gpu_failure(error):
            return None
        if not self._clock.alive():
            raise PoisonedError(f"the CUDA context is lost: {telling_line(str(error))}") from error
        # The context still works: the GPU only refused a launch that asks for more threads, blocks or shared memory than it has.
        return Measurement("out-of-resources", detail=telling_line(str(error)))

    def _left_behind(self) -> str:
        """Return how much GPU memory the candidates have kept; an empty string for none. The next ones are not blamed for it."""
        if self._clock.allocated() > (self._baseline or 0):
            gc.collect()  # what was in a reference cycle
        now = self._clock.allocated()
        left, self._baseline = now - (self._baseline or 0), max(now, self._baseline or 0)
        return f"it left {left} bytes of GPU memory behind" if left > 0 else ""


def _launcher(device: Device) -> Launcher:
    from tunedb.launch import launcher

    return partial(launcher, arch=device.arch)


def _wrong(measured: Measurement, flaw: str) -> Measurement:
    return Measurement("wrong", error=measured.error, detail=flaw)


def _forget(plan: Run) -> None:
    """Drop the weights that a plan has packed: they would live until the next garbage collection."""
    packer = getattr(plan, "packer", None)
    if packer is not None:
        packer.clear()
