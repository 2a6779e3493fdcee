"""Why a record answers, in words."""

from tunedb.describe import micros
from tunedb.device import Device
from tunedb.distance import LAYER_LIMIT, between_layers, difference
from tunedb.problem import Problem
from tunedb.record import Record

__all__ = ["times", "whence", "why_near"]


def why_near(problem: Problem, record: Record, device: Device) -> str:
    far = between_layers(problem, record.problem)
    differs = ", ".join(difference(problem, record.problem))
    what = (
        f"the nearest usable record of this layer has {differs} ({far:.2f} doublings away, limit {LAYER_LIMIT:g})"
        if differs
        else "this problem is known"
    )
    where = record.device if record.device == device.slug else f"another device, {record.device}"
    borrowed = (
        "so torch's own kernel is taken"
        if record.kernel == "aten"
        else "its config is valid here, but untimed"
    )
    return f"{what}, {whence(record, where)}: {times(record)} there; {borrowed}."


def whence(record: Record, where: str = "") -> str:
    """Return how a record's time was obtained: "measured on h200", "proxy for 4090"; `where` says its device otherwise."""
    return (
        f"{record.provenance} {'on' if record.provenance == 'measured' else 'for'} {where or record.device}"
    )


def times(record: Record) -> str:
    aten = ""
    if record.aten_us is not None and record.kernel != "aten":
        aten = f", {'aten' if record.provenance == 'measured' else 'torch expected'} {micros(record.aten_us)}"
    return f"{record.kernel} {micros(record.time_us)}{aten}"
