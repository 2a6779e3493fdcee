"""What an unswept layer may be worth: an estimate from the layers that were measured, and never more than that."""

from statistics import median
from typing import NamedTuple

from tunedb.device import Device
from tunedb.problem import Problem
from tunedb.record import Record

__all__ = ["Typical", "Typicals"]

_Class = tuple[str, str, str, str]  # op, dtype, precision, layout


class Typical(NamedTuple):
    """How many times the floor torch and the best known kernel take: medians over measured records of a class."""

    torch: float
    best: float
    source: str  # which records, in words


class Typicals:
    """The typical times of classes, from the measured records in use; they are read when first asked for.

    Records of the device itself, else of other devices. bfloat16, where it has none, is taken for float16: the same
    kernels, bytes and rates. A stale record counts for nothing.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._known: dict[_Class, list[Record]] | None = None

    def of(self, problem: Problem) -> Typical | None:
        """Return what is typical for the op, dtype, precision and layout of a problem; None where nothing was measured."""
        if self._known is None:
            self._known = _measured(self.device)
        for dtype in dict.fromkeys(
            (problem.dtype, "float16" if problem.dtype == "bfloat16" else problem.dtype)
        ):
            found = self._known.get((problem.op, dtype, problem.precision, problem.layout), [])
            own = [record for record in found if record.device == self.device.slug]
            if own or found:
                return _typical(own or found, f"{problem.op} {dtype} {problem.layout}")
        return None


def _typical(records: list[Record], what: str) -> Typical:
    where = ", ".join(sorted({record.device for record in records}))
    return Typical(
        median(float(record.aten_us or 0.0) / record.floor_us for record in records),
        median(record.time_us / record.floor_us for record in records),
        f"the median of {len(records)} measured records of {what} on {where}",
    )


def _measured(device: Device) -> dict[_Class, list[Record]]:
    from tunedb.kernel import is_stale
    from tunedb.store.files import opened, opened_elsewhere, read_or_default

    found: dict[_Class, list[Record]] = {}
    nothing: list[Record] = []
    for file in [*opened(device.slug), *opened_elsewhere(device.slug)]:
        for record in read_or_default(file, file.records, nothing):
            usable = record.provenance == "measured" and record.aten_us and record.floor_us > 0
            if usable and not is_stale(record.kernel, record.kernel_hash):
                problem = record.problem
                key = (problem.op, problem.dtype, problem.precision, problem.layout)
                found.setdefault(key, []).append(record)
    return found
