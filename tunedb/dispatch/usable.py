"""What a lookup may use of files: answers, and records whose config can solve a problem. No damage of a file reaches the caller."""

from functools import partial
from typing import Any, NamedTuple

from tunedb.device import CATALOGUE, Device
from tunedb.errors import ConfigError, KernelError
from tunedb.kernel import Kernel, config_from_json, is_stale, load
from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.store import remembered
from tunedb.store.files import read_or_default
from tunedb.store.read import Database

__all__ = [
    "TRIED", "Answer", "Expected", "Usable", "capabilities", "devices_of", "kernel_named", "known_record", "layer_records", "measured_near", "own_record", "usable",
]  # fmt: skip

TRIED = (
    500  # records at most whose config is looked at, the nearest first: a hostile file may hold any number
)


class Expected(NamedTuple):
    """Microseconds that nobody measured: what the answer should take, and torch."""

    us: float
    torch_us: float


class Answer(NamedTuple):
    """What to run, and why. `config` is the kernel's own NamedTuple, or None for aten."""

    tier: str
    kernel: str
    config: Any
    record: Record | None
    reason: str
    expected: Expected | None = None  # where the predictor decided


class Usable(NamedTuple):
    record: Record
    config: Any
    stale: bool


def usable(record: Record, problem: Problem, device: Device, file: Database) -> Usable | None:
    """Return a record with its config if that can solve the problem on the device."""
    own = record.problem == problem and record.device == device.slug
    try:
        kernel = load(record.kernel)
        stale = is_stale(record.kernel, record.kernel_hash)
        config = config_from_json(kernel, record.config)
        # `valid` expects configs of the space; a file may hold any number, so it may fail in any way.
        why = (
            kernel.valid(problem, config, device)
            if problem.op in kernel.OPS
            else f"{record.kernel} cannot do {problem.op}."
        )
    except ImportError:
        return None  # Triton is missing: torch answers
    except ConfigError as error:
        if not is_stale(
            record.kernel, record.kernel_hash
        ):  # older code may have had other fields: no reason to complain
            file.reject(str(error))
        return None
    except (ArithmeticError, KernelError, LookupError, TypeError, ValueError) as error:
        file.reject(f"{error}")
        return None
    if why and own and not stale:
        file.reject(f"The config {record.config} of {record.kernel} cannot solve its problem: {why}")
    return None if why else Usable(record, None if record.kernel == "aten" else config, stale)


def devices_of(file: Database) -> dict[str, tuple[str, int]]:
    """Return full name and compute capability of a file's devices, by slug."""
    nothing: dict[str, tuple[str, int]] = {}
    return read_or_default(file, partial(remembered.devices, file), nothing)


def capabilities(files: list[Database]) -> dict[str, int]:
    found = {slug: number for file in files for slug, (_, number) in devices_of(file).items()}
    return found | {known.slug: known.capability for known in CATALOGUE}


def own_record(file: Database, problem: Problem, device: Device) -> Record | None:
    return read_or_default(file, lambda: remembered.record_of_layer(file, problem, device.slug), None)


def known_record(file: Database, known: Problem, slug: str) -> Record | None:
    return read_or_default(file, lambda: remembered.record(file, known, slug), None)


def layer_records(file: Database, problem: Problem, slug: str | None) -> list[Record]:
    return read_or_default(file, lambda: remembered.layer(file, problem, slug), [])


def measured_near(file: Database, problem: Problem, slug: str, limit: float) -> list[Problem]:
    """Return the problems of a file of the same class that were measured on a device, at most `limit` doublings away for some extents."""
    return read_or_default(file, lambda: remembered.measured_within(file, problem, slug, limit), [])


def kernel_named(name: str) -> Kernel | None:
    try:
        return load(name)
    except (ImportError, KernelError):
        return None
