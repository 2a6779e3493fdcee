"""Why a problem is answered as it is, and what that should cost."""

from typing import NamedTuple

from tunedb.describe import describe, micros
from tunedb.device import Device, floor_us
from tunedb.distance import work
from tunedb.lookup import Answer, answer
from tunedb.problem import Problem

__all__ = ["Explanation", "explain_problem"]


# In these tiers the record is a reason only: it says nothing about the time of what will run.
_REASONS = ("default", "aten")


class Explanation(NamedTuple):
    """An answer with what it expects. Times are GPU microseconds, None where nothing is known."""

    problem: Problem
    device: Device
    answer: Answer
    expected_us: float | None
    expected_from: str  # how that time was obtained, in words
    aten_us: float | None  # of the same run as the record's time, and of its problem
    floor_us: float

    def __str__(self) -> str:
        found, record = self.answer, self.answer.record
        lines = [
            ("problem", describe(self.problem)),
            ("device", f"{self.device.slug} ({self.device.name})"),
            ("tier", found.tier),
            ("kernel", found.kernel),
            ("why", found.reason),
            (
                "expects",
                "unknown"
                if self.expected_us is None
                else f"{micros(self.expected_us)}, {self.expected_from}",
            ),
            ("floor", f"{micros(self.floor_us)}" + ("" if self.device.measured else ", from the datasheet")),
        ]
        if found.config is not None:
            lines.insert(
                4, ("config", " ".join(f"{name}={value}" for name, value in found.config._asdict().items()))
            )
        if record is not None and found.tier not in _REASONS:
            if record.aten_us is not None:
                lines.append(("aten", f"{micros(record.aten_us)} in the record's run"))
            if record.error is not None:
                aten = "" if record.aten_error is None else f" (aten {record.aten_error:.2e})"
                lines.append(("error", f"{record.error:.2e}{aten}"))
            lines.append(
                (
                    "record",
                    f"{record.provenance} on {record.device} at {record.tuned_at}, {record.trials} trials",
                )
            )
            versions = (
                ("triton", record.triton),
                ("torch", record.torch),
                ("cudnn", record.cudnn),
                ("driver", record.driver),
            )
            lines.append(
                (
                    "versions",
                    ", ".join(f"{name} {version}" for name, version in versions if version) or "unknown",
                )
            )
        return "\n".join(f"{name:9}{text}" for name, text in lines)


def explain_problem(problem: Problem, device: Device) -> Explanation:
    """Return which tier answers a problem on a device, from which record, why, and the time to expect."""
    found = answer(problem, device)
    floor = floor_us(problem, device)
    record = found.record
    if record is None or found.tier in _REASONS:
        return Explanation(problem, device, found, None, "", None, floor)
    if found.tier == "exact":
        return Explanation(problem, device, found, record.time_us, record.provenance, record.aten_us, floor)
    share = work(problem) / work(record.problem)
    how = f"{record.provenance} {micros(record.time_us)} on {record.device} scaled by {share:.3g} times the work, no less than the floor"
    return Explanation(problem, device, found, max(floor, share * record.time_us), how, None, floor)
