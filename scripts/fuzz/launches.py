"""A bench that times nothing: one problem's tensors between guards, and candidates called three times and judged on them."""

import math
from typing import Any

import torch

from tunedb.device import Device
from tunedb.kernel import config_from_json, load
from tunedb.launch import launcher
from tunedb.measure import guards
from tunedb.measure.baseline import empty_output, make_tensors
from tunedb.measure.reference import Deviation, choose_part, cut, deviation, reference
from tunedb.measure.tolerance import Contract, disagreement
from tunedb.measure.verification import checksum, checksums
from tunedb.problem import Problem
from tunedb.record import Measurement

__all__ = ["Launches"]

# Of products whose factors are rounded to TF32: relative errors seen on a GPU are 2.9e-4. Torch may compute them exactly.
TF32 = 4e-4


class Launches:
    """What Runner calls in the GPU's process. The kernels stay loaded: relatives of a problem share them."""

    aten_us = aten_error = None

    def __init__(self, problem: Problem, index: int, *, device: Device | None = None) -> None:
        del device
        place: Any = torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
        self._problem = problem
        self._tensors = make_tensors(problem, place)
        part = choose_part(problem)
        exact = reference(problem, *self._tensors, part)
        theirs = empty_output(problem, place).copy_(_of_torch(problem, self._tensors))
        found = deviation(cut(problem, theirs, part), exact)
        scale = float(exact.norm()) / math.sqrt(max(1, exact.numel()))
        if problem.precision == "tf32":
            found = Deviation(max(found.error, TF32), max(found.largest, 8 * TF32 * scale))
        self._part, self._exact, self._theirs, self._contract = part, exact, theirs, Contract(found, scale)
        self._out = empty_output(problem, place)
        self._marks = self._now()

    def trial(self, kernel: str, config: str) -> Measurement:
        module = load(kernel)
        parsed = config_from_json(module, config)
        if reason := module.valid(self._problem, parsed, _device(self._out)):
            return Measurement("invalid", detail=reason)
        plan = module.plan(self._problem, parsed, launcher)
        try:
            detail = self._judged(plan)
        finally:
            packer = getattr(plan, "packer", None)
            if packer is not None:
                packer.clear()
        return Measurement("wrong" if detail else "ok", detail=detail)

    def close(self) -> None:
        pass

    def _judged(self, plan: Any) -> str:
        plan(*self._tensors, out=self._out.fill_(math.nan))
        first = checksum(self._out)
        found = deviation(cut(self._problem, self._out, self._part), self._exact)
        flaw = self._contract.breach(found)
        flaw = flaw or self._contract.disagrees(found, disagreement(self._out, self._theirs))
        plan(*self._tensors, out=self._out.fill_(math.nan))
        second = checksum(self._out)
        plan(*self._tensors, out=self._out)  # over its own result
        if not flaw and not bool((first == second) & (second == checksum(self._out))):
            flaw = "a later call gave other bits"
        if not flaw and (bool((self._now() != self._marks).any()) or bool(guards.broken(self._out))):
            flaw = "it changed its input or memory beside its tensors"
        return flaw

    def _now(self) -> torch.Tensor:
        return checksums([one for one in (*self._tensors, self._theirs) if one is not None], [self._exact])


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
