"""What the GPU's own counters say of a winner: each launch of one call, and in a line what limits the longest."""

import json
from typing import Any, NamedTuple

from tunedb.problem import Problem
from tunedb.record import Record

__all__ = ["COUNTERS", "Launch", "Profile", "from_json", "limit", "of_record", "to_json"]

# Fields of a launch and ncu's names of the counters. Percentages are of what the hardware could do.
COUNTERS = {
    "time_ns": "gpu__time_duration.sum",
    "sm": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "l2": "lts__throughput.avg.pct_of_peak_sustained_elapsed",
    "l2_hits": "lts__t_sector_hit_rate.pct",
    "warps": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "grid": "launch__grid_size",
    "registers": "launch__registers_per_thread",
    "shared": "launch__shared_mem_per_block",
}
BUSY = 60.0  # per cent of its peak from which a unit counts as what limits a launch: NVIDIA's own guide to its counters
NAME_LENGTH, LAUNCHES = 60, 16  # letters of a kernel's name, and launches of a call, that are kept


class Launch(NamedTuple):
    """One launch. Percentages of the peak: multiprocessors, memory, L2, warps resident; hits of L2; bytes of shared memory a block."""

    name: str
    time_ns: float
    sm: float
    dram: float
    l2: float
    l2_hits: float
    warps: float
    grid: float  # blocks
    registers: float  # a thread
    shared: float


class Profile(NamedTuple):
    """The launches of one call of a config. `profiled_at` is UTC in ISO 8601, `ncu` the version that counted."""

    problem: Problem
    device: str
    kernel: str
    config: str
    kernel_hash: str
    launches: tuple[Launch, ...]
    ncu: str
    profiled_at: str

    @property
    def longest(self) -> Launch:
        return max(self.launches, key=lambda one: one.time_ns)


def of_record(profile: Profile | None, record: Record) -> Profile | None:
    """Return a profile if it is of what the record answers with, by the same code."""
    if profile is None:
        return None
    same = ("kernel", "config", "kernel_hash")
    return profile if all(getattr(profile, name) == getattr(record, name) for name in same) else None


def to_json(launches: tuple[Launch, ...]) -> str:
    """Return launches as the text that a database keeps."""
    kept = [[one.name[:NAME_LENGTH], *(round(value, 1) for value in one[1:])] for one in launches[:LAUNCHES]]
    return json.dumps(kept, separators=(",", ":"))


def from_json(text: str) -> tuple[Launch, ...]:
    """Return the launches of a database's text.

    Raises ValueError: where it is no list of at least one launch with a name and non-negative numbers.
    """
    found: Any = json.loads(text)
    if not isinstance(found, list) or not 1 <= len(found) <= LAUNCHES:
        raise ValueError(f"launches must be a list of 1 to {LAUNCHES}, but got {text!r:.80}.")
    return tuple(_launch(one) for one in found)


def _launch(given: Any) -> Launch:
    sizes = given[1:] if isinstance(given, list) else []
    numbers = all(type(one) in {int, float} and 0 <= one < float("inf") for one in sizes)
    if (
        len(sizes) != len(COUNTERS)
        or not numbers
        or not isinstance(given[0], str)
        or not given[0].isprintable()
    ):
        raise ValueError(
            f"a launch must have a name and {len(COUNTERS)} numbers from 0, but got {given!r:.80}."
        )
    return Launch(given[0], *map(float, sizes))


def limit(launch: Launch, sm_count: int) -> str:
    """Say in a line what limits a launch on a GPU with so many multiprocessors."""
    units = {"memory": launch.dram, "L2": launch.l2, "multiprocessors": launch.sm}
    unit = max(units, key=lambda name: units[name])
    if units[unit] >= BUSY:
        return f"limited by {unit}, at {units[unit]:.0f} % of the peak"
    if launch.grid < sm_count:
        return f"limited by its {launch.grid:.0f} blocks on {sm_count} multiprocessors"
    busiest = f"nothing is busier than {unit} at {units[unit]:.0f} %"
    return f"limited by waiting: {busiest}, with {launch.warps:.0f} % of the warps resident"
