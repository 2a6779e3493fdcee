"""The bench: one problem's tensors on one GPU, and candidates verified and timed on them.

What a candidate allocates is gone after its trial. Its machine code (tens of kilobytes) stays loaded until the
process ends: Triton has no way to unload it.
"""

import gc
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tunedb.compile import failure, one_line
from tunedb.contract import Contract, disagreement, summation_error
from tunedb.device import floor_us
from tunedb.environment import environment
from tunedb.errors import ConfigError
from tunedb.kernel import Run, config_from_json, load
from tunedb.problem import Problem
from tunedb.record import Measurement
from tunedb.reference import Deviation, choose_part, cut, deviation, reference
from tunedb.timing import Call, Clock, GpuClock, spread
from tunedb.yardstick import empty_output, make_tensors, torch_call

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bench", "PoisonedError", "environment"]

Launcher = Callable[..., Callable[..., None]]

SHORT_US = 15e3  # of a trial's timing
SHORT_ROUNDS = (3, 10)
HOPELESS = 4.0  # times the best so far: one repetition is enough to know
FINAL_US = 400e3  # of the final, all candidates together
FINAL_ROUNDS = (7, 40)
FLUSH_US = 100.0  # what clearing L2 before a repetition takes, about


class PoisonedError(RuntimeError):
    """The CUDA context of this process is lost: end the process and start another."""


class Bench:
    """A problem set up on a GPU. Attributes: aten_us, aten_error, floor_us."""

    def __init__(
        self,
        problem: Problem,
        device_index: int,
        *,
        clock: Clock | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Make seeded tensors, the float64 reference, and time torch's own kernel.

        Torch is timed with and without cudnn.benchmark and the faster counts; its error is the smaller of the
        two. Raises what torch raises where the problem does not fit the GPU or torch cannot compute it.
        """
        self.problem = problem
        self._clock = clock or GpuClock(device_index)
        self._launcher = launcher
        self.floor_us = floor_us(problem, self._clock.device)
        self._tensors = make_tensors(problem, self._clock.place)
        self._part = choose_part(problem)
        self._exact = reference(problem, *self._tensors, self._part)
        self._theirs, deviations = self._torch_results()
        self._contract = Contract(
            aten=min(deviations.values()),
            scale=float(self._exact.norm()) / math.sqrt(max(1, self._exact.numel())),
            rounding=summation_error(problem),
        )
        self.aten_error = self._contract.aten.error
        self._searched, self._aten = self._time_torch(deviations)
        assert self._aten.time_us is not None
        self.aten_us = self._best_us = self._aten.time_us
        gc.collect()
        self._baseline = self._clock.allocated()

    def trial(self, kernel: str, config: str) -> Measurement:
        """Verify one candidate against float64 and against torch, then time it for about 15 ms.

        Raises PoisonedError: where the candidate has broken the GPU process for all that follow.
        """
        if kernel == "aten":
            return self._aten
        measured = self._guarded(lambda: self._trial(kernel, config))
        self._check_nothing_left(kernel, config)
        return measured

    def final(self, candidates: Sequence[tuple[str, str]]) -> list[Measurement]:
        """Time torch and the candidates in turn, about 0.4 s in all.

        The first of the list is torch's; the others are the candidates' in their order, torch left out.
        Raises PoisonedError: as `trial`.
        """
        others = [candidate for candidate in candidates if candidate[0] != "aten"]
        measured = self._final(others)
        if others:
            self._check_nothing_left(*others[-1])
        return [self._timed(self._aten, measured[0][1]), *(self._timed(*one) for one in measured[1:])]

    def close(self) -> None:
        """Free the tensors and forget the loaded kernels."""
        del self._tensors, self._exact, self._theirs
        if "tunedb.launch" in sys.modules:
            sys.modules["tunedb.launch"].clear()
        gc.collect()
        if self._clock.place.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _torch_results(self) -> "tuple[Tensor, dict[bool, Deviation]]":
        """Return torch's whole output, the more exact of the two, and how far each is from float64."""
        theirs = empty_output(self.problem, self._clock.place)
        deviations: dict[bool, Deviation] = {}
        for searched in (False, True):
            result = torch_call(self.problem, self._tensors, searched)()
            found = deviation(cut(self.problem, result, self._part), self._exact)
            if not deviations or found < min(deviations.values()):
                theirs.copy_(result)
            deviations[searched] = found
        return theirs, deviations

    def _time_torch(self, deviations: dict[bool, Deviation]) -> tuple[bool, Measurement]:
        calls = [torch_call(self.problem, self._tensors, searched) for searched in (False, True)]
        times = self._clock.times_us(calls, 1)
        rounds = _rounds(2 * SHORT_US, [first for (first,) in times], SHORT_ROUNDS)
        times = self._clock.times_us(calls, rounds)
        searched = spread(times[True])[0] < spread(times[False])[0]
        return searched, self._timed(Measurement("ok", error=deviations[searched].error), times[searched])

    def _trial(self, kernel: str, config: str) -> Measurement:
        plan = self._plan(kernel, config)
        if isinstance(plan, Measurement):
            return plan
        try:
            out = empty_output(self.problem, self._clock.place)
            measured = self._verified(plan, out)
            if measured.status != "ok":
                return measured
            return self._timed(measured, self._short(lambda: plan(*self._tensors, out=out)))
        finally:
            _forget(plan)

    def _short(self, call: Callable[[], Any]) -> list[float]:
        times = self._clock.times_us([call], 1)[0]
        if times[0] <= HOPELESS * self._best_us:
            more = _rounds(SHORT_US, times, SHORT_ROUNDS) - 1
            times += self._clock.times_us([call], more)[0]
            self._best_us = min(self._best_us, spread(times)[0])
        return times

    def _final(self, candidates: Sequence[tuple[str, str]]) -> list[tuple[Measurement, list[float]]]:
        out = empty_output(self.problem, self._clock.place)
        theirs = torch_call(self.problem, self._tensors, self._searched)
        theirs()
        plans: list[Run] = []
        measured = [self._guarded(partial(self._entered, *one, out, plans)) for one in candidates]
        calls: list[Call] = [theirs, *(partial(plan, *self._tensors, out=out) for plan in plans)]
        try:
            times = self._clock.times_us(calls, 1)
            rounds = _rounds(FINAL_US, [first for (first,) in times], FINAL_ROUNDS)
            times = [a + b for a, b in zip(times, self._clock.times_us(calls, rounds - 1), strict=True)]
        finally:
            for plan in plans:
                _forget(plan)
        left = iter(times[1:])
        return [
            (self._aten, times[0]),
            *((one, next(left) if one.status == "ok" else []) for one in measured),
        ]

    def _entered(self, kernel: str, config: str, out: "Tensor", plans: list[Run]) -> Measurement:
        """Verify a finalist; append its plan if it may take part."""
        plan = self._plan(kernel, config)
        if isinstance(plan, Measurement):
            return plan
        measured = self._verified(plan, out)
        if measured.status == "ok":
            plans.append(plan)
        else:
            _forget(plan)
        return measured

    def _plan(self, kernel: str, config: str) -> Run | Measurement:
        module = load(kernel)
        try:
            parsed = config_from_json(module, config)
        except ConfigError as error:
            return Measurement("invalid", detail=str(error))
        if reason := module.valid(self.problem, parsed, self._clock.device):
            return Measurement("invalid", detail=reason)
        return module.plan(self.problem, parsed, self._launcher or _launcher())

    def _verified(self, run: Run, out: "Tensor") -> Measurement:
        """Run a plan once into an output full of NaN and check all of it."""
        out.fill_(math.nan)
        result = run(*self._tensors, out=out)
        if (result.shape, result.stride(), result.dtype) != (out.shape, out.stride(), out.dtype):
            given = f"{tuple(result.shape)}, strides {result.stride()}, {result.dtype}"
            return Measurement(
                "wrong",
                detail=f"the output must be {tuple(out.shape)}, strides {out.stride()}, {out.dtype}, but is {given}",
            )
        found = deviation(cut(self.problem, result, self._part), self._exact)
        breach = self._contract.breach(found) or self._contract.disagrees(
            found, disagreement(result, self._theirs)
        )
        return Measurement(
            "wrong" if breach else "ok",
            error=found.error if math.isfinite(found.error) else None,
            detail=breach,
        )

    @staticmethod
    def _timed(measured: Measurement, times: list[float]) -> Measurement:
        if not times:
            return measured
        median, low, high = spread(times)
        return measured._replace(time_us=median, time_us_low=low, time_us_high=high)

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
        import torch

        if isinstance(error, torch.OutOfMemoryError):
            return Measurement("out-of-resources", detail=one_line(str(error)))
        if failed := failure(error):
            return failed
        if not _is_gpu_failure(error):
            return None
        if not self._clock.alive():
            raise PoisonedError(f"the CUDA context is lost: {one_line(str(error))}") from error
        # It refused the launch and goes on: a grid, a block or shared memory beyond what it has.
        return Measurement("out-of-resources", detail=one_line(str(error)))

    def _check_nothing_left(self, kernel: str, config: str) -> None:
        if self._clock.allocated() > self._baseline:
            gc.collect()  # what was in a reference cycle
        left = self._clock.allocated() - self._baseline
        assert left <= 0, f"a trial must leave no GPU memory behind, but {kernel} {config} left {left} bytes"


def _launcher() -> Launcher:
    from tunedb.launch import launcher

    return launcher


def _forget(plan: Run) -> None:
    """Drop the weights that a plan has packed: they would live until the next garbage collection."""
    packer = getattr(plan, "packer", None)
    if packer is not None:
        packer.clear()


def _rounds(budget_us: float, once: Sequence[float], bounds: tuple[int, int]) -> int:
    a_round = sum(once) + FLUSH_US * len(once)
    return max(bounds[0], min(bounds[1], int(budget_us / a_round)))


def _is_gpu_failure(error: Exception) -> bool:
    import torch

    if isinstance(error, getattr(torch, "AcceleratorError", ())):
        return True
    return isinstance(error, RuntimeError) and any(
        word in str(error) for word in ("CUDA", "cuDNN", "CUDNN", "CUBLAS")
    )
