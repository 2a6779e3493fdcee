"""The answers that a benchmark takes from databases, compiled ahead, for the GPU's generation or for another."""

import functools
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Stored", "call_of", "looked_up", "precompile", "stored"]


class Stored(NamedTuple):
    """What a database says. `arch` ("sm89") is the generation to compile for, None for the GPU's own."""

    kernel: str
    config: str
    arch: str | None


def stored(path: Path, problem: Any, device: Any, arch: str | None = None) -> Stored | str:
    """Return a database's own answer to exactly this problem, or why it has none that may be timed here."""
    from tunedb.device import as_arch
    from tunedb.errors import ConfigError, KernelError
    from tunedb.kernel import config_from_json, load, source_hash

    place = device if arch is None else as_arch(device, arch)
    record = _opened(path).record(problem, place.slug)
    if record is None:
        return f"{path.name} has no record of it on {place.slug}"
    if record.kernel == "aten":
        return f"{path.name} has torch's own kernel for it"
    try:
        if source_hash(record.kernel) != record.kernel_hash:
            return f"its record in {path.name} is stale: {record.kernel} has changed since {record.tuned_at}"
        module = load(record.kernel)
        flaw = module.valid(problem, config_from_json(module, record.config), place)
    except (ConfigError, KernelError) as error:
        return f"its record in {path.name} cannot be used: {error}"
    return (
        f"its record in {path.name} cannot be used: {flaw}"
        if flaw
        else Stored(record.kernel, record.config, arch)
    )


@functools.cache
def _opened(path: Path) -> Any:
    from tunedb.store.read import Database

    return Database(path)


def looked_up(problem: Any, device: Any) -> Stored | None:
    """Return what tunedb answers, None for torch's own kernel."""
    from tunedb.dispatch.lookup import answer
    from tunedb.kernel import config_to_json

    found = answer(problem, device)
    return None if found.kernel == "aten" else Stored(found.kernel, config_to_json(found.config), None)


def precompile(tasks: Iterable[tuple[Any, ...]], deadline: float) -> None:
    """Compile (kernel, problem, config, device) on all cores into Triton's cache, until the deadline.

    What any came to does not matter here: the process that times it meets it again, and says so.
    """
    from tunedb.tune.compile_pool import CompilePool

    todo = dict.fromkeys(tasks)
    if not todo:
        return
    pool = CompilePool(min(os.cpu_count() or 1, len(todo)), compiler="tunedb.compile:compile_candidate")
    try:
        for task in todo:
            pool.submit(None, *task)
        while pool.outstanding and time.monotonic() < deadline:
            pool.next()
    finally:
        pool.close()


def call_of(yardstick: Any, kernel: str, config: str) -> Callable[[], Any]:
    """Return a kernel's call on a yardstick's tensors; its plan is made here."""
    from tunedb.kernel import config_from_json, load
    from tunedb.launch import launcher

    module, out = load(kernel), yardstick.output()
    run = module.plan(yardstick.problem, config_from_json(module, config), launcher)
    return lambda: run(*yardstick.tensors, out=out)
