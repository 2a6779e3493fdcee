"""The bench: one problem's tensors on one GPU, and candidates verified and timed on them.

A candidate's memory is freed after its trial. Its machine code (tens of kilobytes) stays loaded until the process
ends, because Triton cannot unload it.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tunedb.compile import failure, telling_line
from tunedb.device import Device, floor_us
from tunedb.errors import ConfigError
from tunedb.kernel import Run, config_from_json, load
from tunedb.measure.baseline import SHORT_ROUNDS, SHORT_US, Yardstick
from tunedb.measure.gpu_failure import is_gpu_failure, is_out_of_memory
from tunedb.measure.timing import Call, Clock, GpuClock, rounds_within, spread, timed
from tunedb.measure.versions import environment
from tunedb.problem import Problem
from tunedb.record import Measurement

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bench", "PoisonedError", "environment"]

Launcher = Callable[..., Callable[..., None]]

HOPELESS = 4.0  # times slower than the best so far: such a candidate is timed once
FINAL_US = 400e3  # of the final, all candidates together
FINAL_ROUNDS = (7, 40)


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
        self._check_nothing_left(kernel, config)
        return measured

    def final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        """Verify the candidates again and time torch and them in turn, about 0.4 s in all.

        The first of the list is torch's; the others are the candidates' in their order, torch left out.
        Raises PoisonedError: as `trial`.
        """
        others = [candidate for candidate in candidates if candidate[0] != "aten"]
        self._refer()
        measured = self._final(others)
        if others:
            self._check_nothing_left(*others[-1])
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
        try:
            out = self._yardstick.output()
            call = self._call(plan, out)
            measured = self._yardstick.judge(call())
            return timed(measured, self._short(call)) if measured.status == "ok" else measured
        finally:
            _forget(plan)

    def _short(self, call: Call) -> list[float]:
        first = self._clock.times_us([call], 1)
        if first[0][0] > HOPELESS * self._best_us:
            return first[0]
        rounds = rounds_within(SHORT_US, first, SHORT_ROUNDS)
        times = first[0] + self._clock.times_us([call], rounds - 1)[0]
        self._best_us = min(self._best_us, spread(times)[0])
        return times

    def _final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        out = self._yardstick.output()
        plans: list[Run] = []
        measured = [self._guarded(partial(self._entered, *one, out, plans)) for one in candidates]
        calls = [self._yardstick.torch_call, *(self._call(plan, out) for plan in plans)]
        try:
            calls[0]()
            times = self._clock.times_us(calls, 1)
            rounds = rounds_within(FINAL_US, times, FINAL_ROUNDS)
            times = [a + b for a, b in zip(times, self._clock.times_us(calls, rounds - 1), strict=True)]
        finally:
            for plan in plans:
                _forget(plan)
        left = iter(times)
        return [
            timed(one, next(left)) if one.status == "ok" else one for one in (self._yardstick.aten, *measured)
        ]

    def _entered(self, kernel: str, config: str, out: "Tensor", plans: list[Run]) -> Measurement:
        """Verify a finalist; append its plan if it may take part."""
        plan = self._plan(kernel, config)
        if isinstance(plan, Measurement):
            return plan
        measured = self._yardstick.judge(self._call(plan, out.fill_(float("nan")))())
        if measured.status == "ok":
            plans.append(plan)
        else:
            _forget(plan)
        return measured

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

    def _check_nothing_left(self, kernel: str, config: str) -> None:
        if self._clock.allocated() > (self._baseline or 0):
            gc.collect()  # what was in a reference cycle
        left = self._clock.allocated() - (self._baseline or 0)
        assert left <= 0, f"a trial must leave no GPU memory behind, but {kernel} {config} left {left} bytes"


def _launcher(device: Device) -> Launcher:
    from tunedb.launch import launcher

    return partial(launcher, arch=device.arch)


def _forget(plan: Run) -> None:
    """Drop the weights that a plan has packed: they would live until the next garbage collection."""
    packer = getattr(plan, "packer", None)
    if packer is not None:
        packer.clear()
