"""Make a predicted database of a card from that of another whose candidates it can run: nothing is searched again.

    python scripts/predict_card.py --device l40s --of db/4090.sqlite --out l40s.sqlite

Every stored candidate is compiled for the card, as a sweep does, and says what it should take there, from a proxy's time or the time model; the one
whose 80th percentile is shortest becomes the record. A problem without a candidate that fits is left out. The last line of stdout is one JSON object.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tunedb import kernel
from tunedb.compile import compile_candidate
from tunedb.device import Device, by_slug, floor_us
from tunedb.measure.versions import environment
from tunedb.problem import Problem
from tunedb.record import Choice, Record, Tried
from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.tune.choose_winner import ATEN, surest
from tunedb.tune.predict.expected import expected
from tunedb.tune.predict.proxies import PROXY
from tunedb.tune.predict.torch_time import torch_us

KEPT = 5  # candidates of a problem, as a predicted sweep keeps


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", required=True, help="slug of the card")
    parser.add_argument("--of", type=Path, required=True, help="the database whose candidates are taken")
    parser.add_argument("--out", type=Path, required=True, help="the database to write")
    given = parser.parse_args(argv)
    device, count = by_slug(given.device), Counter[str]()
    source = Database(given.of)
    with Store(given.out) as store:
        for record in source.records():
            top = list(judged(record, source, device, count))
            best = surest(top)
            if best is None:
                count["problems left out"] += 1
                continue
            count["records"] += 1
            store.put(record_of(record.problem, best, len(top), device), sorted(top, key=_time)[:KEPT])
    print(json.dumps({"device": device.slug, **count}))
    return 0


def judged(record: Record, source: Database, device: Device, count: Counter[str]) -> Iterator[Tried]:
    """Yield a problem's candidates that the device can run, each with the time that is expected of it."""
    stored = [one.choice for one in source.top(record.problem, record.device)]
    for choice in dict.fromkeys([Choice(record.kernel, record.config), *stored]):
        if choice.kernel == ATEN.kernel:
            continue
        found = compile_candidate(choice.kernel, record.problem, choice.config, device)
        count[found.status] += 1
        if found.status == "ok":
            yield Tried(*choice, expected(record.problem, *choice, found, device))


def record_of(problem: Problem, best: Tried, trials: int, device: Device) -> Record:
    measured, versions = best.measurement, environment()
    assert measured.time_us is not None
    return Record(
        problem, device.slug, best.kernel, best.config, measured.time_us, measured.time_us_low, measured.time_us_high,
        torch_us(problem, device), floor_us(problem, device), None, None, "proxy" if measured.detail.startswith(PROXY) else "predicted",
        trials, kernel.source_hash(best.kernel), *(versions.get(name, "") for name in ("triton", "torch", "cudnn", "driver")),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _time(tried: Tried) -> float:
    return tried.measurement.time_us or 0.0


if __name__ == "__main__":
    raise SystemExit(main())
