"""A bench that times nothing: one problem's tensors between guards, and candidates called three times and judged on them.

A result is "wrong" where it is beyond what its arithmetic can give (fuzz.arithmetic), differs between calls, or touched
what is not its own. It is "refused" where it is none of this but a sweep would not take it: less exact than the error
contract asks. That is arithmetic, not a bug.
"""

import math
from typing import Any

import torch

from fuzz.arithmetic import arithmetic_of, farthest, magnitudes
from tunedb.device import Device
from tunedb.kernel import config_from_json, load
from tunedb.launch import launcher
from tunedb.measure import guards
from tunedb.measure.baseline import empty_output, make_tensors
from tunedb.measure.reference import Part, cut, deviation, reference, tf32_deviation
from tunedb.measure.tolerance import NOTHING, Contract
from tunedb.measure.verification import checksum, checksums
from tunedb.problem import Problem
from tunedb.record import Measurement

__all__ = ["Launches"]


class Launches:
    """What Runner calls in the GPU's process. The kernels stay loaded: relatives of a problem share them."""

    aten_us = aten_error = None

    def __init__(self, problem: Problem, index: int, *, device: Device | None = None) -> None:
        del device
        place: Any = torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
        self._problem = problem
        self._tensors = make_tensors(problem, place)
        # All of it: the problems are small.
        self._part = Part(*map(_all, (problem.n, problem.groups, problem.c_out // problem.groups)))
        self._exact = reference(problem, *self._tensors, self._part)
        self._magnitude = magnitudes(problem, *self._tensors, self._part)
        tf32 = problem.precision == "tf32"
        # Without cudnn.benchmark only: its search would take longer than the launches. Who is refused is only counted.
        self._contract = Contract(
            deviation(self._cut(_of_torch(problem, self._tensors)), self._exact),
            scale=float(self._exact.norm()) / math.sqrt(max(1, self._exact.numel())),
            tf32=tf32_deviation(problem, *self._tensors, self._part, self._exact) if tf32 else NOTHING,
        )
        self._out = empty_output(problem, place)
        self._marks = self._now()

    def trial(self, kernel: str, config: str) -> Measurement:
        module = load(kernel)
        parsed = config_from_json(module, config)
        if reason := module.valid(self._problem, parsed, _device(self._out)):
            return Measurement("invalid", detail=reason)
        arithmetic = arithmetic_of(module, self._problem, parsed)
        limits = farthest(self._problem, arithmetic, self._exact, self._magnitude, self._tensors[2])
        plan = module.plan(self._problem, parsed, launcher)
        try:
            return self._judged(plan, limits)
        finally:
            packer = getattr(plan, "packer", None)
            if packer is not None:
                packer.clear()

    def close(self) -> None:
        pass

    def _judged(self, plan: Any, limits: torch.Tensor) -> Measurement:
        plan(*self._tensors, out=self._out.fill_(math.nan))
        first = checksum(self._out)
        flaw = _beyond(self._cut(self._out), self._exact, limits)
        found = deviation(self._cut(self._out), self._exact)
        plan(*self._tensors, out=self._out.fill_(math.nan))
        second = checksum(self._out)
        plan(*self._tensors, out=self._out)  # over its own result
        if not flaw and not bool((first == second) & (second == checksum(self._out))):
            flaw = "a later call gave other bits"
        if not flaw and (bool((self._now() != self._marks).any()) or bool(guards.broken(self._out))):
            flaw = "it changed its input or memory beside its tensors"
        if flaw:
            return Measurement("wrong", detail=flaw)
        refusal = self._contract.breach(found)
        return Measurement("refused" if refusal else "ok", detail=refusal)

    def _cut(self, output: torch.Tensor) -> torch.Tensor:
        return cut(self._problem, output, self._part)

    def _now(self) -> torch.Tensor:
        return checksums([one for one in self._tensors if one is not None], [self._exact, self._magnitude])


def _all(size: int) -> tuple[int, ...]:
    return tuple(range(size))


def _beyond(out: torch.Tensor, exact: torch.Tensor, limits: torch.Tensor) -> str:
    """Return which element is farther from the exact result than its limit, or an empty string."""
    apart = (out.double() - exact).abs()
    beyond = ~(apart <= limits)  # NaN too
    count = int(beyond.sum())
    if not count:
        return ""
    worst = int(torch.where(beyond, (apart / limits).nan_to_num(math.inf), 0.0).argmax())
    at, off, limit = (float(one.flatten()[worst]) for one in (exact, apart, limits))
    return f"{count} of {out.numel()} elements are beyond what their arithmetic can give: one of {at:.6g} may be off by {limit:.3g}, but is by {off:.3g}"


def _of_torch(problem: Problem, tensors: Any) -> torch.Tensor:
    from torch.backends import cudnn

    aten = load("aten")
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = problem.precision == "tf32"
    try:
        return aten.plan(problem, aten.Config(), launcher)(*tensors)
    finally:
        cudnn.allow_tf32 = before


def _device(out: torch.Tensor) -> Device:
    from tunedb.device import by_slug, current

    return current(out.device.index) if out.is_cuda else by_slug("h100")
