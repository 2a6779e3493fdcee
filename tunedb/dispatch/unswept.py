"""Answers for problems that no record is near enough to: what won a neighbour of the class, or torch."""

from tunedb.device import Device
from tunedb.dispatch.reasons import times
from tunedb.dispatch.usable import TRIED, Answer, kernel_named, known_record, measured_near, usable
from tunedb.distance import CLASS_LIMIT, between_neighbours
from tunedb.kernel import is_stale
from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.store.read import Database

__all__ = ["default"]

WIN = 1.5  # run a neighbour's winner untimed only if it beat torch by this factor there


def default(problem: Problem, device: Device, files: list[Database]) -> Answer | None:
    neighbours = [
        (between_neighbours(problem, known), place, known)
        for place, file in enumerate(files)
        for known in measured_near(file, problem, device.slug, CLASS_LIMIT)
    ]
    for far, place, known in sorted(neighbours)[:TRIED]:
        record = known_record(files[place], known, device) if far <= CLASS_LIMIT else None
        if record is None or record.aten_us is None or is_stale(record.kernel, record.kernel_hash):
            continue
        which = f"the nearest measured problem of this class on {device.slug}, {far:.2f} doublings away, was won by {record.kernel}"
        if record.kernel != "aten" and record.aten_us >= WIN * record.time_us:
            return _default_of(record, problem, device, files[place], which)
        return Answer(
            "aten",
            "aten",
            None,
            record,
            f"{which} ({times(record)}): too little to run another kernel untimed.",
        )
    return None


def _default_of(
    record: Record, problem: Problem, device: Device, file: Database, which: str
) -> Answer | None:
    """Return the neighbour's config: it fits similar sizes better than the kernel's default (docs/experiments.md, sixth round)."""
    found = usable(record, problem, device, file)
    if found is not None:
        reason = f"{which} ({times(record)}), so its config answers, untimed for this problem."
        return Answer("default", record.kernel, found.config, record, reason)
    kernel = kernel_named(record.kernel)
    config = None if kernel is None or problem.op not in kernel.OPS else kernel.default(problem, device)
    if kernel is None or config is None or kernel.valid(problem, config, device):
        return None
    reason = f"{which} ({times(record)}), so its default config answers, untimed for this problem."
    return Answer("default", record.kernel, config, record, reason)
