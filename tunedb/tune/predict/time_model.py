"""The time model: what a config should take on a device, learned from trials on other devices.

    time = floor x 2^(formula + trees + spill x bytes that a thread spills)
    trees = those of sizes; the mean of them and of those that see the machine code's instructions too, where they are known

Floor and formula are arithmetic on the device's facts (features.py: waves, products, L2, waiting), with the rates that long runs
reach (sustained.py). The trees correct them by what the trials of the H200, the H100 and both running sm_89 code took. They see
sizes and ratios, and no fact that only names a device, so that they may be asked about one that they have not seen. What the compiler
says is known of a compiled candidate alone; of a few trials it was kept, enough to tell what spilled registers cost. The instructions of
16,000 trials were counted (scripts/count_instructions.py): the second trees know these alone.
"""

import functools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunedb.device import Device
from tunedb.device.sustained import sustained
from tunedb.dispatch.unseen.features import (
    CONFIG,
    KERNELS,
    PROBLEM,
    config_features,
    floor_log,
    problem_features,
)
from tunedb.dispatch.unseen.trees import Predictor, read_predictor
from tunedb.problem import Problem
from tunedb.tune.predict.instructions import TOLD

__all__ = ["COLUMNS", "FILE", "base_log", "expected_log", "features", "knows", "time_model"]

FILE = "time_model.json.gz"
NAMES = (*PROBLEM, *CONFIG)
# The bandwidth itself is left out: with three devices it would name them.
_LEFT_OUT = NAMES.index("bandwidth")
_FORMULA = NAMES.index("modelled") - 1
COLUMNS = {"time": len(NAMES) - 1, "code": len(NAMES) - 1 + TOLD, "torch": len(PROBLEM) + 3}


@functools.cache
def time_model() -> Predictor:
    """Return the time model that comes with tunedb. Raises OSError, ValueError: where its file is missing or damaged."""
    return read_predictor(Path(str(files("tunedb.db"))) / FILE, COLUMNS)


def knows(kernel: str) -> bool:
    """Return whether the trials that it was fitted to have taught it anything of a kernel."""
    return kernel in KERNELS


def features(problem: Problem, device: Device, kernel: str, config: Any) -> list[float]:
    """Return what the trees see of a config that is valid for the problem."""
    facts = sustained(device)
    found = problem_features(problem, facts) + config_features(problem, facts, kernel, config)
    return found[:_LEFT_OUT] + found[_LEFT_OUT + 1 :]


def base_log(problem: Problem, device: Device, found: list[float]) -> float:
    """Return log2 of the microseconds that floor and formula say, from `features`."""
    return floor_log(problem, sustained(device)) + found[_FORMULA]


def expected_log(
    model: Predictor,
    problem: Problem,
    device: Device,
    kernel: str,
    config: Any,
    spills: int = 0,
    code: Sequence[float] | None = None,
) -> float:
    """Return log2 of the microseconds that a config should take.

    `spills` are bytes of local memory a thread, `code` is what its instructions tell (instructions.told), each where it is known.
    """
    found = features(problem, device, kernel, config)
    trees = model.forests["time"].value(found)
    if code is not None:
        trees = (trees + model.forests["code"].value([*found, *code])) / 2
    return base_log(problem, device, found) + trees + float(model.facts.get("spill", 0.0)) * spills
