"""Compile what a whole model needs, several kernels at a time, into Triton's cache: its first call then loads them."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from tunedb.compile import compiled, passes
from tunedb.device import Device
from tunedb.kernel import Signature, load
from tunedb.problem import Problem
from tunedb.triton_internals import is_interpreted, is_tested, toolchain

__all__ = ["compile_together"]

THREADS = 8  # more wait for Python's lock: parts of Triton's compiler are written in it


def compile_together(needs: Iterable[tuple[str, Problem, Any]], device: Device) -> int:
    """Compile (kernel, problem, config) for a device, all that a plan of each launches; return how many kernels that were.

    Nothing is compiled where Triton would not be asked for it in this way at a launch, and one kernel alone is left to its launch.
    What fails here fails again where the plan is made, which says so.
    """
    if not is_tested():
        return 0
    found: dict[tuple[Any, ...], Signature] = {}
    for name, problem, config in dict.fromkeys(needs):
        with suppress(Exception):  # a kernel of another distribution
            module = load(name)
            for one in (module.signature(problem, config), *passes(module, problem, config)):
                if one is not None and not is_interpreted(one.fn) and toolchain(one.fn) is not None:
                    found.setdefault(one.code, one)
    if len(found) < 2:
        return 0

    def compile_one(signature: Signature) -> None:
        with suppress(Exception):
            compiled(signature, device)

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1, len(found))) as threads:
        list(threads.map(compile_one, found.values()))
    return len(found)
