"""What a candidate should take on a GPU that is not here: compiled for it, its instructions counted, then asked of the time model."""

import math
import subprocess

from tunedb.compile import compile_candidate, compiled
from tunedb.device import Device
from tunedb.kernel import config_from_json, load
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement
from tunedb.triton_internals import machine_code
from tunedb.tune.predict.expected import expected
from tunedb.tune.predict.instructions import counted, disassembled, told
from tunedb.tune.predict.proxies import timed
from tunedb.tune.predict.time_model import knows

__all__ = ["compile_and_expect"]


def compile_and_expect(kernel: str, problem: Problem, config: str, device: Device) -> Measurement:
    """Compile one config as `compile_candidate` does, and add the time that is expected of it where that succeeds.

    Instructions are counted in this process, which may be one of many. What a proxy has timed needs no guess, and costs no disassembly.
    """
    found = compile_candidate(kernel, problem, config, device)
    if found.status != "ok":
        return found
    asked = knows(kernel) and Choice(kernel, config) not in timed(problem, device)
    code = _code(kernel, problem, config, device) if asked else None
    return expected(problem, kernel, config, found, device, code)


def _code(kernel: str, problem: Problem, config: str, device: Device) -> list[float] | None:
    """Return what the instructions of a config's main kernel tell; None where nvdisasm fails."""
    module = load(kernel)
    signature = module.signature(problem, config_from_json(module, config))
    binary = None if signature is None else machine_code(compiled(signature, device))
    if signature is None or binary is None:
        return None
    try:
        whole, loop = counted(disassembled(binary))
    except (OSError, subprocess.SubprocessError):
        return None
    return told(problem, device, math.prod(signature.grid), signature.num_warps, whole, loop)
