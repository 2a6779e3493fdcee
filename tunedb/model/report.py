"""What the records promise a model, layer by layer: who answers, in what time, beside torch and the floor."""

import datetime as dt
from collections.abc import Iterable, Sequence
from math import fsum
from typing import Any, NamedTuple

from tunedb.device import Device
from tunedb.dispatch.explanation import UNTIMED, Explanation, explain_problem
from tunedb.model.report_estimate import Typical, Typicals
from tunedb.problem import Problem, rank
from tunedb.store.profile import limit
from tunedb.suite import Entry

__all__ = ["RESTS_ON", "SCHEMA", "STATES", "Report", "Row", "Totals", "report", "variant"]

SCHEMA = 1  # of the JSON; docs/report.md

# answered: a kernel of tunedb answers and torch's time is known. torch: torch's own kernel is the best known one.
# unswept: nobody has measured torch on this problem, so nobody knows what is saved.
STATES = ("answered", "torch", "unswept")

# What a time rests on: the first three are the provenance of a record of exactly this problem and device; "borrowed" is a
# record of another problem, dtype or device, times the share of the work.
RESTS_ON = ("measured", "proxy", "borrowed", "predicted")

_BORROWING = ("near", "other-device")


class Row(NamedTuple):
    """A layer. Times are GPU microseconds of one call, those with `pass` in the name of all its calls in a forward pass.

    What is not known is None. The estimates are given for unswept layers only; they are no expectations.
    """

    id: str
    modules: tuple[str, ...]
    problem: Problem
    calls: int  # in one forward pass
    state: str  # one of STATES
    tier: str
    kernel: str
    provenance: str  # of the answer's record; "" where no record gives its time
    rests_on: str  # one of RESTS_ON; "" where no time is known
    record_device: str
    why: str
    floor_us: float
    torch_us: float | None
    tunedb_us: float | None
    saved_pass_us: float | None
    estimated_torch_pass_us: float | None
    estimated_saved_pass_us: float | None
    estimate_from: str  # what the estimates rest on, in words; "" where there are none
    limit: str = ""  # what limits the answer by the GPU's counters, where `tunedb profile` has counted

    @property
    def torch_pass_us(self) -> float | None:
        return None if self.torch_us is None else self.calls * self.torch_us

    @property
    def tunedb_pass_us(self) -> float | None:
        return None if self.tunedb_us is None else self.calls * self.tunedb_us

    @property
    def weight_us(self) -> float:
        """What it takes of a forward pass as far as is known: torch's time, else the estimate, else the floor."""
        known = self.torch_pass_us
        known = self.estimated_torch_pass_us if known is None else known
        return self.calls * self.floor_us if known is None else known

    @property
    def name(self) -> str:
        """The first module that calls it, with the number of the others; else its id."""
        more = f" +{len(self.modules) - 1}" if len(self.modules) > 1 else ""
        return self.modules[0] + more if self.modules else self.id


class Totals(NamedTuple):
    """Sums over a forward pass, in GPU microseconds. `torch_us`, `tunedb_us` and `saved_us` leave unswept layers out."""

    layers: int
    calls: int
    answered: int
    torch: int
    unswept: int
    torch_us: float
    tunedb_us: float
    saved_us: float
    speedup: float | None  # torch's time over tunedb's; None where no layer has both
    floor_us: float  # of all layers
    estimated_torch_us: float  # of the unswept layers that can be estimated
    estimated_saved_us: float
    not_estimated: int  # unswept layers about whose time nothing is known
    rests_on: dict[str, float]  # share of tunedb's expected time, predictions for unswept layers included


class Report(NamedTuple):
    """A model on a device. `versions` are those of the records that answer, as "triton 3.7.1, torch 2.13.0, …"."""

    title: str
    device: Device
    here: bool  # this machine has that GPU
    date: str  # UTC, YYYY-MM-DD
    rows: tuple[Row, ...]  # in the order of the suite
    totals: Totals
    versions: tuple[str, ...]


def report(
    entries: Sequence[Entry],
    device: Device,
    *,
    title: str = "",
    date: str | None = None,
    compiled: bool = False,
) -> Report:
    """Return what the databases in use promise for the layers of a suite on a device.

    An entry that does not say its dtype, precision and layout stands for float32, ieee and channels_first; `variant`
    gives it others. `date` is today's (UTC) by default. `compiled`: the entries are those of a compiled model (as_compiled).
    Raises ProblemError: for an entry that torch would refuse.
    """
    typicals = Typicals(device)
    explained = [(entry, explain_problem(entry.problem(), device)) for entry in entries]
    rows = tuple(_row(entry, found, typicals) for entry, found in explained)
    if compiled:
        from tunedb.model.report_compiled import compiled_row

        rows = tuple(compiled_row(row, device) for row in rows)
    return Report(
        title, device, _is_here(device), date or dt.datetime.now(dt.UTC).date().isoformat(), rows,
        totals(rows), _versions(found for _, found in explained),
    )  # fmt: skip


def variant(entries: Iterable[Entry], dtype: str, precision: str, layout: str) -> list[Entry]:
    """Return entries that all say their dtype, precision and layout: their own, or the given ones.

    16-bit types are always ieee, and one dimension is always channels_first.
    """
    return [
        entry
        if entry.captured
        else entry._replace(
            dtype=dtype,
            precision=precision if dtype == "float32" else "ieee",
            layout=layout if rank(entry.op) > 1 else "channels_first",
        )
        for entry in entries
    ]


def totals(rows: Sequence[Row]) -> Totals:
    """Return the sums of some layers."""
    known = [row for row in rows if row.state != "unswept"]
    torch = fsum(row.torch_pass_us or 0.0 for row in known)
    tunedb = fsum(row.tunedb_pass_us or 0.0 for row in known)
    unswept = [row for row in rows if row.state == "unswept"]
    expected = fsum(row.tunedb_pass_us or 0.0 for row in rows)
    shares = {
        name: fsum(row.tunedb_pass_us or 0.0 for row in rows if row.rests_on == name) / expected
        if expected
        else 0.0
        for name in RESTS_ON
    }
    return Totals(
        layers=len(rows), calls=sum(row.calls for row in rows),
        answered=sum(row.state == "answered" for row in rows), torch=sum(row.state == "torch" for row in rows),
        unswept=len(unswept), torch_us=torch, tunedb_us=tunedb, saved_us=torch - tunedb,
        speedup=torch / tunedb if tunedb else None, floor_us=fsum(row.calls * row.floor_us for row in rows),
        estimated_torch_us=fsum(row.estimated_torch_pass_us or 0.0 for row in unswept),
        estimated_saved_us=fsum(row.estimated_saved_pass_us or 0.0 for row in unswept),
        not_estimated=sum(row.estimated_torch_pass_us is None for row in unswept), rests_on=shares,
    )  # fmt: skip


def _row(entry: Entry, found: Explanation, typicals: Typicals) -> Row:
    record = None if found.answer.tier in UNTIMED else found.answer.record
    torch_us, tunedb_us = _times(found)
    unswept = torch_us is None
    state = "unswept" if unswept else "torch" if found.answer.kernel == "aten" else "answered"
    typical = typicals.of(found.problem) if unswept else None
    torch_pass, saved_pass = _estimate(typical, entry.calls * found.floor_us)
    return Row(
        entry.id, entry.modules, found.problem, entry.calls, state, found.answer.tier, found.answer.kernel,
        record.provenance if record else "", _rests_on(found) if tunedb_us is not None else "",
        record.device if record else "", found.answer.reason, found.floor_us, torch_us, tunedb_us,
        None if torch_us is None or tunedb_us is None else entry.calls * (torch_us - tunedb_us),
        torch_pass, saved_pass, typical.source if typical else "",
        limit(found.profile.longest, found.device.sm_count) if found.profile else "",
    )  # fmt: skip


def _times(found: Explanation) -> tuple[float | None, float | None]:
    """Return torch's time and that of the answer. What was not measured on this device promises nothing: torch's time is expected only."""
    record = found.answer.record
    if record is None or found.expected_us is None:
        return None, None
    if record.provenance != "measured":
        return None, found.expected_us
    if record.kernel == "aten":
        return found.expected_us, found.expected_us
    torch_us = found.aten_us
    if torch_us is None and record.aten_us is not None and found.answer.tier in _BORROWING:
        share = (
            found.problem.positions / record.problem.positions
        )  # as the expected time is: both are of one run
        torch_us = max(found.floor_us, share * record.aten_us)
    return torch_us, found.expected_us


def _rests_on(found: Explanation) -> str:
    record = found.answer.record
    assert record is not None
    if record.provenance == "predicted":
        return "predicted"
    own = record.problem == found.problem and record.device == found.device.slug
    return record.provenance if own and found.answer.tier == "exact" else "borrowed"


def _estimate(typical: Typical | None, floor_pass_us: float) -> tuple[float | None, float | None]:
    if typical is None:
        return None, None
    return floor_pass_us * typical.torch, floor_pass_us * max(0.0, typical.torch - typical.best)


def _is_here(device: Device) -> bool:
    import torch

    from tunedb.device import current

    if not (torch.cuda.is_available() and torch.version.cuda):
        return False
    return any(current(index).slug == device.gpu for index in range(torch.cuda.device_count()))


def _versions(found: Iterable[Explanation]) -> tuple[str, ...]:
    texts: dict[str, Any] = {}
    for one in found:
        record = one.answer.record
        if record is not None and one.answer.tier not in UNTIMED:
            texts[versions_of(record)] = None
    return tuple(sorted(texts))


def versions_of(record: Any) -> str:
    """Return the versions of a record in words; a version that is not known is left out."""
    names = (
        ("triton", record.triton),
        ("torch", record.torch),
        ("cuDNN", record.cudnn),
        ("driver", record.driver),
    )
    return ", ".join(f"{name} {version}" for name, version in names if version) or "unknown"
