"""Make a predicted database of a card from candidates that are known: nothing is searched again.

    python scripts/predict_card.py --device 4090 --of db/4090.sqlite --out 4090.sqlite
    python scripts/predict_card.py --device l40s --of db/4090.sqlite --out l40s.sqlite

Candidates of a problem are those that the database holds, and those that proxies have timed (db/proxies). Each is compiled for the card, as a sweep
does, unless the database has it for a GPU of this compute capability, whose machine code is the same; then it says what it should take there, from a proxy's time or the time
model. Which becomes the record is decided as in a sweep. A problem without a candidate that fits is left out. The last line of stdout is one JSON object.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tunedb import kernel
from tunedb.device import Device, by_slug, floor_us
from tunedb.measure.versions import environment
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.tune.choose_winner import ATEN, surest
from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.predict.expected import expected
from tunedb.tune.predict.formula import ranks
from tunedb.tune.predict.proxies import PROXY, timed
from tunedb.tune.predict.torch_time import torch_us

COMPILER = "tunedb.tune.predict.expected:compile_and_expect"
KEPT = 5  # candidates of a problem, as a predicted sweep keeps
PROXIED = 4  # that proxies have timed, as a predicted sweep tries


class Task(NamedTuple):
    """A candidate of one of the source's records."""

    record: Record
    choice: Choice


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", required=True, help="slug of the card")
    parser.add_argument("--of", type=Path, required=True, help="the database whose candidates are taken")
    parser.add_argument("--out", type=Path, required=True, help="the database to write")
    parser.add_argument("--jobs", type=int, default=2, help="compile processes (default: %(default)s)")
    given = parser.parse_args(argv)
    device, count = by_slug(given.device), Counter[str]()
    source = Database(given.of)
    tasks = [Task(record, choice) for record in source.records() for choice in choices(record, source, device)]  # fmt: skip
    found: dict[Problem, list[Tried]] = {}
    for task, needs in compiled(tasks, source, device, given.jobs):
        count[needs.status] += 1
        if needs.status == "ok":
            what = needs if needs.time_us else expected(task.record.problem, *task.choice, needs, device)
            found.setdefault(task.record.problem, []).append(Tried(*task.choice, what))
    with Store(given.out) as store:
        for record in source.records():
            top = sorted(found.get(record.problem, ()), key=lambda one: (one.measurement.time_us or 0.0, one.choice))  # fmt: skip
            best = surest(top)
            if best is None:
                count["problems left out"] += 1
                continue
            count["records"] += 1
            kept = list(dict.fromkeys([best, *top]))[:KEPT]
            store.put(record_of(record.problem, best, len(top), device), [one for one in top if one in kept])
    print(json.dumps({"device": device.slug, **count}))
    return 0


def choices(record: Record, source: Database, device: Device) -> list[Choice]:
    """Return a problem's candidates: the answer, those stored beside it, and the best that were timed on a proxy of the device."""
    stored = [one.choice for one in source.top(record.problem, record.device)]
    proxied = list(timed(record.problem, device))[:PROXIED]
    every = dict.fromkeys([Choice(record.kernel, record.config), *stored, *proxied])
    return [one for one in every if one.kernel != ATEN.kernel and ranks(kernel.load(one.kernel), device)]


def compiled(
    tasks: Sequence[Task], source: Database, device: Device, jobs: int
) -> Iterator[tuple[Task, Measurement]]:
    """Yield each candidate with what it takes on the device: as the source says of the same machine code, else compiled."""
    pool = CompilePool(jobs, compiler=COMPILER)
    try:
        for task in tasks:
            needs = said(task, source, device)
            if needs is not None:
                yield task, needs
            else:
                pool.submit(task, task.choice.kernel, task.record.problem, task.choice.config, device)
        while pool.outstanding:
            task, outcome = pool.next()
            if isinstance(outcome, Bug):
                raise RuntimeError(outcome.traceback)  # noqa: TRY004 (what a compile process raised)
            yield task, outcome
    finally:
        pool.close()


def said(task: Task, source: Database, device: Device) -> Measurement | None:
    """Return what a candidate takes, where the source read it off the same code for a GPU of the same compute capability; None elsewhere.

    What no proxy has timed is compiled anyway, since the time model asks for its instructions.
    """
    record = task.record
    if task.choice not in timed(record.problem, device):
        return None
    if by_slug(record.device).capability != device.capability or kernel.is_stale(record.kernel, record.kernel_hash):  # fmt: skip
        return None
    for one in source.top(record.problem, record.device):
        if one.choice == task.choice and one.measurement.registers is not None and one.measurement.status == "ok":  # fmt: skip
            return one.measurement._replace(time_us=None, time_us_low=None, time_us_high=None, detail="")
    return None


def record_of(problem: Problem, best: Tried, trials: int, device: Device) -> Record:
    measured, versions = best.measurement, environment()
    assert measured.time_us is not None
    return Record(
        problem, device.slug, best.kernel, best.config, measured.time_us, measured.time_us_low, measured.time_us_high,
        torch_us(problem, device), floor_us(problem, device), None, None, "proxy" if measured.detail.startswith(PROXY) else "predicted",
        trials, kernel.source_hash(best.kernel), *(versions.get(name, "") for name in ("triton", "torch", "cudnn", "driver")),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
