"""Call the six functions on every problem of a database, on the GPUs at hand, and compare with torch.

    python scripts/check_dispatch.py --db db/h200.sqlite --gpus all --out benchmarks/dispatch_h200.md

For every record: the answer's tier must be `exact`, its result within the error contract (at most 1.1 times
torch's own error against float64), and its GPU time, interleaved with torch's, at most 3 % above torch's.
Torch is taken in the faster of its two modes (cudnn.benchmark on and off) and its error is the larger one, since a
record answers users of either.
A page goes to --out (or stdout), the last line of stdout is one JSON object. Status 1: something failed.
"""

import argparse
import datetime as dt
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench_items import command
from bench_report import mean
from bench_report import table as markdown
from gpu_shards import LOST, answer, chosen_gpus, dealt, said_of

SLOWER = 1.03  # times torch's time: more is a failure
FINAL_US = 300e3  # of interleaved timing a problem
ROUNDS = (7, 40)
CONFIRMATIONS = (
    3  # slower in one timing may be chance, where torch's own kernel answers it is: slower in three is not
)


class Row(NamedTuple):
    """One problem as it was dispatched. Times are GPU microseconds; `failure` says what is not as promised."""

    name: str
    op: str
    dtype: str
    layout: str
    kernel: str
    tier: str
    tunedb_us: float | None
    aten_us: float | None
    floor_us: float | None
    error: float | None
    aten_error: float | None
    failure: str


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.db is not None:
        os.environ["TUNEDB_PATH"] = str(arguments.db.absolute())
    if arguments.work:
        return work(arguments.device, [int(index) for index in arguments.work.split(",")], arguments.db)
    import torch

    if not torch.cuda.is_available():
        sys.exit("check_dispatch needs a CUDA GPU, but torch sees none: run it where the database was made.")
    records = chosen(arguments.db, arguments.device)
    if not records:
        where = arguments.db or "no shipped database"
        sys.exit(f"{where} has no record for {arguments.device}: name another --db or --device.")
    deadline = time.monotonic() + arguments.seconds
    rows = checked(records, chosen_gpus(arguments.gpus), deadline)
    rows.sort(key=lambda row: (row.op, row.name, row.dtype, row.layout))
    found = summary(rows, device=arguments.device, records=len(records))
    text = page(rows, found, where=heading(), said=command(sys.argv))
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    print(json.dumps(found))
    return int(bool(found["failures"] or found["unchecked"]))


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--db", type=Path, help="the database (default: the one shipped for the device)")
    parser.add_argument("--device", default="h200", help="slug of the GPU (default: %(default)s)")
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="start no problem after that (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="Markdown file (default: stdout)")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of records: what a child is started with
    return parser.parse_args(argv)


def chosen(db: Path | None, slug: str) -> list[Any]:
    """Return the device's records, in the same order in every process."""
    from tunedb.database import Database
    from tunedb.files import shipped_files

    path = db or shipped_files().get(slug)
    return [] if path is None else [record for record in Database(path).records() if record.device == slug]


def checked(records: Sequence[Any], gpus: Sequence[int], deadline: float) -> list[Row]:
    """Check the records in children that see one GPU each; a child that dies costs the record it was at."""
    order = sorted(range(len(records)), key=lambda index: -records[index].problem.bytes)
    found = dealt(
        [__file__, *sys.argv[1:]], order, gpus, deadline, lambda one: say(row_of(records[one["index"]], one))
    )
    return [row_of(records[index], one) for index, one in found.items()]


def row_of(record: Any, given: dict[str, Any]) -> Row:
    """Return what a child answered, or what became of it."""
    return failed(record, titles([record])[0], given["died"]) if "died" in given else Row(*given["row"])


def say(row: Row) -> None:
    print(
        f"{row.op:17}{row.name:24}{row.dtype:9}{row.layout:15}{row.kernel:14}{row.failure or 'ok'}",
        file=sys.stderr,
    )


def work(slug: str, indices: list[int], db: Path | None) -> int:
    """Check records one after another and answer each: the child's side."""
    from tunedb.timing import GpuClock

    records = chosen(db, slug)
    names = titles(records)
    clock = GpuClock(0)
    for index in indices:
        try:
            row = check(records[index], names[index], clock)
        except RuntimeError as error:  # the GPU's, or torch's: memory, a launch
            answer(index, row=failed(records[index], names[index], said_of(error)))
            if not clock.alive():
                return LOST
            continue
        answer(index, row=row)
    return 0


def titles(records: Sequence[Any]) -> list[str]:
    """Return the name of each record's problem: its ids in the shipped suites, else its sizes."""
    from tunedb.describe import describe
    from tunedb.suite import load_suite, shipped_suites

    ids: dict[Any, str] = {}
    for suite in shipped_suites():
        for entry in load_suite(suite):
            ids.setdefault(sizes(entry.problem()), entry.id)
    return [ids.get(sizes(record.problem)) or describe(record.problem) for record in records]


def sizes(problem: Any) -> Any:
    return problem._replace(dtype="float32", precision="ieee", layout="channels_first")


def check(record: Any, name: str, clock: Any) -> Row:
    """Dispatch one problem and hold it against torch."""
    import torch

    import tunedb
    from tunedb.timing import rounds_within, spread
    from tunedb.yardstick import Yardstick

    problem = record.problem
    yardstick = Yardstick(problem, clock)
    function = getattr(tunedb, problem.op)
    x, weight, bias = yardstick.torch_tensors
    given = problem.torch_sizes

    def dispatched() -> Any:
        with yardstick.settings():
            return function(x, weight, bias, **given)

    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", tunedb.TunedbWarning)
        judged = yardstick.judge(dispatched())
        with yardstick.settings():
            found = tunedb.explain(problem.op, x, weight, bias, device=record.device, **given).answer
        calls = [dispatched, yardstick.torch_call]
        rounds = rounds_within(FINAL_US, clock.times_us(calls, 1), ROUNDS)
        for _ in range(CONFIRMATIONS):
            tunedb_us, aten_us = (spread(times)[0] for times in clock.times_us(calls, rounds))
            if tunedb_us <= SLOWER * aten_us:
                break
    complaints = [str(one.message) for one in said if issubclass(one.category, tunedb.TunedbWarning)]
    if found.tier != "exact":
        complaints.append(f"the tier must be exact, but is {found.tier}: {found.reason}")
    elif found.kernel != record.kernel:
        complaints.append(f"{record.kernel} must answer, but {found.kernel} does")
    # Torch's own answer is right by definition, in whichever of its modes.
    if judged.status != "ok" and found.kernel != "aten":
        complaints.append(judged.detail)
    if tunedb_us > SLOWER * aten_us:
        complaints.append(f"{tunedb_us / aten_us:.3f} times torch's time")
    tunedb.clear()
    return Row(
        name, problem.op, problem.dtype, problem.layout, found.kernel, found.tier, tunedb_us, aten_us,
        record.floor_us, judged.error, yardstick.aten_error, "; ".join(complaints),
    )  # fmt: skip


def failed(record: Any, name: str, why: str) -> Row:
    problem = record.problem
    return Row(
        name, problem.op, problem.dtype, problem.layout, record.kernel, "", None, None, record.floor_us, None, None, why
    )  # fmt: skip


def heading() -> str:
    """Return the GPU at hand, the versions that times depend on, and the day."""
    import torch

    from tunedb.environment import environment

    versions = ", ".join(f"{name} {version}" for name, version in environment().items())
    return f"{torch.cuda.get_device_name()}, {versions}, {dt.datetime.now(dt.UTC):%Y-%m-%d}"


def page(rows: Sequence[Row], found: dict[str, Any], *, where: str, said: str) -> str:
    """Return the page of a run: where and how it was made, its summary, what failed, every record."""
    own, faster = found["times_faster_where_not_torch"], found["times_faster"]
    means = "" if faster is None else f"; {faster:.2f} times torch in the geometric mean"
    means += "" if own is None else f", {own:.2f} where tunedb's kernels answer"
    failed = [f"- {row.name} {row.op} {row.dtype} {row.layout}, by {row.kernel}: {row.failure}" for row in rows if row.failure]  # fmt: skip
    return "\n".join([
        f"# Records of the {found['device']}, dispatched and held against torch and float64", "", f"{where}.", "", f"Command: `{said}`", "",
        f"{found['exact']} of {found['records']} records `exact`, {found['unchecked']} not reached{means}; torch in the faster of its two modes.",
        "", "## Failures", "", *(failed or ["None."]), "", "## Every record", "", table(rows), "",
    ])  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    heads = (
        "problem",
        "op",
        "dtype",
        "layout",
        "kernel",
        "tunedb µs",
        "aten µs",
        "times faster",
        "floor µs",
        "error",
        "aten error",
        "tier",
        "",
    )
    lines = []
    for row in rows:
        faster = "" if row.tunedb_us is None or row.aten_us is None else f"{row.aten_us / row.tunedb_us:.2f}"
        lines.append([
            row.name, row.op, row.dtype, row.layout, row.kernel, _number(row.tunedb_us, ".1f"), _number(row.aten_us, ".1f"), faster,
            _number(row.floor_us, ".1f"), _number(row.error, ".2e"), _number(row.aten_error, ".2e"), row.tier, row.failure,
        ])  # fmt: skip
    return markdown(heads, lines)


def summary(rows: Sequence[Row], *, device: str, records: int) -> dict[str, Any]:
    """Return the counts and means of a run; ratios are torch's time over tunedb's."""
    ratios = {row: row.aten_us / row.tunedb_us for row in rows if row.aten_us and row.tunedb_us}
    worst = min(ratios, key=lambda row: ratios[row], default=None)
    own = [ratio for row, ratio in ratios.items() if row.kernel != "aten"]
    return {
        "device": device,
        "records": records,
        "checked": len(rows),
        "unchecked": records - len(rows),
        "exact": sum(row.tier == "exact" for row in rows),
        "by_torch": sum(row.kernel == "aten" for row in rows),
        "times_faster": mean(list(ratios.values())),
        "times_faster_where_not_torch": mean(own),
        "times_floor": mean(
            [row.tunedb_us / row.floor_us for row in ratios if row.tunedb_us and row.floor_us]
        ),
        "worst": None if worst is None else [worst.name, worst.dtype, worst.layout, round(ratios[worst], 3)],
        "failures": [[row.name, row.dtype, row.layout, row.failure] for row in rows if row.failure],
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
