"""What compile processes are given in tests: tasks that end, hang, raise or kill their process, and a compiler that fails.

Children import this module by name, so it must be on sys.path.
"""

import os
import time
from pathlib import Path

import landscape
from fake_sweep import executed

from tunedb.record import Measurement


def work(kind, argument=None):
    """What the pool calls: ends, hangs, meets others, raises or kills its process."""
    if kind == "hang":
        time.sleep(argument)
    if kind == "meet":
        return Measurement("ok", detail=meet(*argument))
    if kind == "die":
        os._exit(9)
    if kind == "raise":
        raise TypeError("wrongly written")
    if kind == "environment":
        return Measurement(
            "ok", detail=f"{os.environ['CUDA_VISIBLE_DEVICES']!r} {os.environ.get('TRITON_INTERPRET')}"
        )
    return Measurement("ok", detail=kind)


def meet(folder, name, enough):
    """Write that this task has begun, wait until as many as are enough have, and return when it began and ended."""
    begin = time.monotonic()
    (Path(folder) / name).touch()
    while len(list(Path(folder).iterdir())) < enough:
        time.sleep(0.01)
    time.sleep(0.02)
    return f"{begin} {time.monotonic()}"


def three_and_no_more(kernel, problem, config, device, compiled=[]):  # noqa: B006 (counts this process's calls)
    """Be a compiler whose fourth candidate, and all that follow, fail once the third trial has begun."""
    compiled.append(config)
    while len(compiled) > 3 and len(executed(Path(os.environ["LANDSCAPE_LOG"]).parent)) < 3:
        time.sleep(0.01)
    if len(compiled) > 3:
        return Measurement("compile-error", detail="no such instruction")
    return landscape.compile_candidate(kernel, problem, config, device)


def never(kernel, problem, config, device):
    """Be a compiler that refuses everything."""
    del kernel, problem, config, device
    return Measurement("compile-error", detail="no such instruction")


def one_and_then_none(kernel, problem, config, device, compiled=[]):  # noqa: B006 (counts this process's calls)
    """Be a compiler that never comes back from its second candidate."""
    compiled.append(config)
    if len(compiled) > 1:
        time.sleep(600)
    return landscape.compile_candidate(kernel, problem, config, device)
