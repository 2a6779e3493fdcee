"""Call the six functions on every problem of a database, on the GPUs at hand, and compare with torch.

    python scripts/check_dispatch.py --db db/h200.sqlite --gpus all --out benchmarks/h200/dispatch.md
    python scripts/check_dispatch.py --suite models --gpus all --out benchmarks/h200/dispatch_others.md

For every record: the answer's tier must be `exact`, its result within the error contract (against float64 at most 1.1
times the error that the declared precision permits: torch's, and where TF32 is declared that of rounded factors), and its
GPU time, interleaved with torch's, at most 3 % above torch's.
Torch is taken in the faster of its two modes (cudnn.benchmark on and off) and its error is the larger one, since a
record answers users of either. With --suite it is the problems of a suite that have no record, which any tier may answer.
A page goes to --out (or stdout), the last line of stdout is one JSON object. Status 1: something failed.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.dispatch_page import Row, page, summary
from bench.gpu_shards import LOST, answer, chosen_gpus, dealt, said_of
from bench.items import command, wanted
from bench.results import heading_here

SLOWER = 1.03  # times torch's time: more is a failure
FINAL_US = 300e3  # of interleaved timing a problem
ROUNDS = (7, 40)
CONFIRMATIONS = (
    3  # slower in one timing may be chance, where torch's own kernel answers it is: slower in three is not
)


class Unrecorded(NamedTuple):
    """A problem without a record, checked as one: any tier and kernel may answer it."""

    problem: Any
    device: str
    floor_us: float
    kernel: str = ""


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.db is not None:
        os.environ["TUNEDB_PATH"] = str(arguments.db.absolute())
    if arguments.work:
        return work(arguments, [int(index) for index in arguments.work.split(",")])
    import torch

    if not torch.cuda.is_available():
        sys.exit("check_dispatch needs a CUDA GPU, but torch sees none: run it where the database was made.")
    records = chosen(arguments)
    if not records and arguments.suite:
        sys.exit(
            f"every problem of {arguments.suite} has a record for {arguments.device}: check without --suite."
        )
    if not records:
        where = arguments.db or "no shipped database"
        sys.exit(f"{where} has no record for {arguments.device}: name another --db or --device.")
    deadline = time.monotonic() + arguments.seconds
    rows = checked(records, chosen_gpus(arguments.gpus), deadline)
    rows.sort(key=lambda row: (row.op, row.name, row.dtype, row.layout))
    found = summary(rows, device=arguments.device, records=len(records))
    text = page(rows, found, where=heading_here(), said=command(sys.argv))
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
    parser.add_argument("--suite", help="a shipped suite or a file: its problems without a record")
    parser.add_argument("--device", default="h200", help="slug of the GPU (default: %(default)s)")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of the problems, evenly spread")
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="start no problem after that (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="Markdown file (default: stdout)")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of records: what a child is started with
    return parser.parse_args(argv)


def chosen(arguments: argparse.Namespace) -> list[Any]:
    """Return what to check, in the same order in every process."""
    found = candidates(arguments.db, arguments.device, arguments.suite)
    count = min(arguments.sample or len(found), len(found))
    return [found[position * len(found) // count] for position in range(count)]


def candidates(db: Path | None, slug: str, suite: str | None = None) -> list[Any]:
    """Return the device's records, or the problems of a suite that have none."""
    from tunedb.store.files import shipped_files
    from tunedb.store.read import Database

    path = db or shipped_files().get(slug)
    found = [] if path is None else [record for record in Database(path).records() if record.device == slug]
    if suite is None:
        return found
    from tunedb.device import by_slug, floor_us

    known = {record.problem for record in found}
    items = wanted(suite, "float32,float16", "channels_first,channels_last", None)
    others = dict.fromkeys(item.problem for item in items if item.problem not in known)
    return [Unrecorded(problem, slug, floor_us(problem, by_slug(slug))) for problem in others]


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


def work(arguments: argparse.Namespace, indices: list[int]) -> int:
    """Check records one after another and answer each: the child's side."""
    from tunedb.measure.timing import GpuClock

    records = chosen(arguments)
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
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import rounds_within, spread

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
    if record.kernel and found.tier != "exact":
        complaints.append(f"the tier must be exact, but is {found.tier}: {found.reason}")
    elif record.kernel and found.kernel != record.kernel:
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


if __name__ == "__main__":
    sys.exit(main())
