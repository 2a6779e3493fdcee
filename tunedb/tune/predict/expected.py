"""What a candidate should take on a GPU that is not here, how sure that is, and what it rests on."""

import math
import subprocess
from collections.abc import Sequence
from typing import Any

from tunedb.compile import compile_candidate
from tunedb.device import Device, floor_us
from tunedb.device.sustained import sustained
from tunedb.dispatch.likely import FIFTH
from tunedb.kernel import config_from_json, load
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement
from tunedb.tune.predict.formula import predict_us
from tunedb.tune.predict.instructions import instructions_of, told
from tunedb.tune.predict.proxies import PROXY, timed
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.time_model import expected_log, knows, time_model

__all__ = ["SIGMA", "compile_and_expect", "expected", "kind_of_code"]

# How far expected times are off, as a standard deviation of log2: of a time that was moved from a proxy, of one that the time model gives,
# and of the formula alone (benchmarks/predicted).
SIGMA = {"proxy": 0.25, "model": 0.42, "formula": 1.0}

PRODUCTS = ("implicit_gemm", "kn2row", "packed", "shared_rows")  # kernels that multiply matrices
SHARP = 8  # how suddenly a bound begins to count: at the bound itself a time is a tenth longer


def compile_and_expect(kernel: str, problem: Problem, config: str, device: Device) -> Measurement:
    """Compile one config as `compile_candidate` does, and add the time that is expected of it where that succeeds.

    The instructions are counted here, because this process has the machine code. What a proxy has timed needs no guess, and no disassembly.
    """
    found = compile_candidate(kernel, problem, config, device)
    if found.status != "ok":
        return found
    guessed = knows(kernel) and Choice(kernel, config) not in timed(problem, device)
    return expected(problem, kernel, config, found, device, _told_of(kernel, problem, config, device) if guessed else None)  # fmt: skip


def _told_of(kernel: str, problem: Problem, config: str, device: Device) -> list[float] | None:
    """Return what the instructions of a config's main kernel tell; None where nvdisasm is missing or fails."""
    module = load(kernel)
    signature = module.signature(problem, config_from_json(module, config))
    if signature is None:
        return None
    try:
        counts = instructions_of(signature, device)  # from Triton's cache: it was compiled a moment ago
    except (OSError, subprocess.SubprocessError):
        return None
    return None if counts is None else told(problem, device, math.prod(signature.grid), signature.num_warps, *counts)  # fmt: skip


def expected(
    problem: Problem,
    kernel: str,
    config: str,
    resources: Measurement,
    device: Device,
    code: Sequence[float] | None = None,
) -> Measurement:
    """Return a compiled candidate's measurement with the time that is expected of it, from its 20th to its 80th percentile.

    Where the config was timed on a proxy, that time is moved by the facts of both devices as torch's is (scale.py), and `detail` says so:
    the proxy's order of a problem's configs stays, which picked better than one that the trees had corrected (docs/experiments.md).
    Else the time model says it, by sizes and, where it is given, by `code`: what the instructions tell. For a kernel that no trial has
    taught the model, the formula says it. No time is so short that it would be a larger share of the floor, by what the device sustains,
    than code of that kind was ever measured to reach.
    Raises ValueError: for a kernel that Triton does not compile, such as torch's own.
    """
    if not knows(kernel):
        return _with(resources, predict_us(problem, kernel, config, resources, device), "formula")
    parsed = config_from_json(load(kernel), config)
    model = time_model()
    least = floor_us(problem, sustained(device)) / reached(model.facts, problem, kernel, device)
    proxy = timed(problem, device).get(Choice(kernel, config))
    if proxy is None:
        here = expected_log(model, problem, device, kernel, parsed, resources.spills or 0, code)
        return _with(resources, no_less(2.0**here * model.facts["chosen"], least), "model")
    told = f"{PROXY}{proxy.device.slug}, which takes {proxy.us:.4g} us"
    moved = moved_us(proxy.us, problem, proxy.device, device)
    return _with(resources._replace(detail=told), no_less(moved, least), "proxy")


def no_less(us: float, least: float) -> float:
    """Return about the larger of both, more than either: what comes near a bound overlaps with it, and configs keep their order."""
    larger = max(us, least)
    return float(larger * (1 + (min(us, least) / larger) ** SHARP) ** (1 / SHARP))


def reached(facts: Any, problem: Problem, kernel: str, device: Device) -> float:
    """Return the largest share of the sustained floor that this kind of code was ever measured to reach, at most 1.

    Kernels that multiply matrices are one kind: one that was seen near the floor less often is not slower for that.
    """
    known = (facts["reached"].get(kind_of_code(problem, one, device)) for one in (PRODUCTS if kernel in PRODUCTS else (kernel,)))  # fmt: skip
    return float(min(1.0, max((share for share in known if share), default=1.0)))


def kind_of_code(problem: Problem, kernel: str, device: Device) -> str:
    """Return what is known apart: instructions, kernel and the width of its numbers."""
    instructions = "wgmma" if device.wgmma else "mma_sync"
    return f"{instructions} {kernel} {'float32' if problem.dtype == 'float32' else 'half'}"


def _with(resources: Measurement, us: float, source: str) -> Measurement:
    spread = 2.0 ** (FIFTH * SIGMA[source])
    return resources._replace(time_us=us, time_us_low=us / spread, time_us_high=us * spread)
