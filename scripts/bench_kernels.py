"""Time every answer to a suite's problems in one run, on the GPUs at hand, each problem's answers in turn, L2 cold.

    python scripts/bench_kernels.py --triton-db triton.sqlite --sm89-db triton.sqlite --gpus all \
        --out benchmarks/h200/kernels.md

Columns: `triton` is the fastest of tunedb's own kernels (the record of a sweep without torch's), `sm89` the same
compiled as code for sm_89 within its 99 KB, `dispatched` what tunedb answers, `cudnn` and `heuristic` torch with
cudnn.benchmark on and off, TF32 allowed, `compile` torch.compile where it has a template. A column without an answer is
empty, and the notes say why. Results of tunedb's kernels are checked against float64, and must be the same bits twice.
A page, a plot and the results as JSON are written beside each other; the last line of stdout is one JSON object.
Status 1: something failed or was not reached in time.
"""

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.columns import measured
from bench.gpu_shards import LOST, answer, chosen_gpus, dealt, said_of
from bench.items import Item, command, wanted
from bench.plot import plot
from bench.report import page, rewrite, summary
from bench.results import Results, Row
from bench.sources import Stored, looked_up, precompile, stored

BETWEEN = "; "  # the commands of a run that was resumed


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.db is not None:
        os.environ["TUNEDB_PATH"] = str(arguments.db.absolute())
    items = wanted(arguments.suite, arguments.dtype, arguments.layout, arguments.only)
    if arguments.work:
        return work([int(index) for index in arguments.work.split(",")], items, arguments)
    import torch

    if not torch.cuda.is_available():
        sys.exit("bench_kernels needs a CUDA GPU, but torch sees none.")
    from tunedb.measure.versions import environment

    versions, kept, commands = environment(), [], []
    if arguments.resume and (earlier := earlier_results(arguments.json, versions)):
        kept = [row for row in earlier.rows if not row.failures]
        commands = earlier.command.split(BETWEEN)
    known = {row.key for row in kept}
    open_ = [index for index, item in enumerate(items) if item.key not in known]
    # The dearest first, dealt out in turn, so that the GPUs end together.
    order = sorted(open_, key=lambda index: -items[index].problem.bytes)
    deadline = time.monotonic() + arguments.seconds
    prepare([items[index].problem for index in order], arguments, deadline)
    found = dealt(
        [__file__, *sys.argv[1:]], order, chosen_gpus(arguments.gpus), deadline, partial(say, items)
    )
    rows = [*kept, *(row_of(items[index], one) for index, one in found.items())]
    place = {item.key: position for position, item in enumerate(items)}
    rows.sort(key=lambda row: place.get(row.key, len(place)))
    results = Results(
        device=torch.cuda.get_device_name(),
        environment=versions,
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        command=BETWEEN.join(dict.fromkeys([*commands, command(sys.argv)])),
        suite=arguments.suite,
        rows=rows,
    )
    write(results, arguments)
    said = summary(results) | {"unmeasured": len(order) - len(found)}
    print(json.dumps(said))
    return int(bool(said["failures"] or said["unmeasured"]))


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--suite", default="kernelbench", help="a shipped suite or a file (default: %(default)s)"
    )
    parser.add_argument("--dtype", default="float32,float16", help="(default: %(default)s)")
    parser.add_argument(
        "--layout",
        default="channels_first,channels_last",
        help="channels_last in two and three dimensions only (default: %(default)s)",
    )
    parser.add_argument("--only", help="ids of problems, as in kb57,kb81 (default: all)")
    parser.add_argument("--device", default="h200", help="slug of the GPU (default: %(default)s)")
    parser.add_argument("--triton-db", type=Path, help="a sweep without torch's kernel: column triton")
    parser.add_argument("--sm89-db", type=Path, help="the same of the device DEVICE-sm89: column sm89")
    parser.add_argument("--db", type=Path, help="what answers (default: as tunedb is set up)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too, which takes long")
    parser.add_argument(
        "--compile-seconds", type=float, default=90.0, help="for one problem (default: %(default)s)"
    )
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=540.0, help="end after that (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="Markdown file, its plot beside it (default: stdout)")
    parser.add_argument("--json", type=Path, help="file for the results (default: beside --out)")
    parser.add_argument("--resume", action="store_true", help="keep what --json has, measure what it has not")
    parser.add_argument("--readme", type=Path, help="rewrite the summary in this file")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of items: what a child is started with
    arguments = parser.parse_args(argv)
    if arguments.json is None and arguments.out is not None:
        arguments.json = arguments.out.with_suffix(".json")
    for needing in ("resume", "readme"):
        if getattr(arguments, needing) and arguments.json is None:
            parser.error(f"--{needing} needs the file of the results: give --json or --out.")
    return arguments


def earlier_results(path: Path, versions: dict[str, str]) -> Results | None:
    """Return an earlier run, if there is one, which must have had the same versions."""
    if not path.is_file():
        return None
    results = Results.read(path)
    if results.environment != versions:
        sys.exit(
            f"--resume needs results of the versions at hand, {versions}, but {path} has {results.environment}: name another --json."
        )
    return results


def prepare(problems: Sequence[Any], arguments: argparse.Namespace, deadline: float) -> None:
    """Compile what is going to be timed, on all cores and no GPU: one process would do it one by one."""
    from tunedb.device import as_arch, by_slug

    device = by_slug(arguments.device)
    tasks = [
        (one.kernel, problem, one.config, device if one.arch is None else as_arch(device, one.arch))
        for problem in problems
        for one in [*stored_answers(problem, device, arguments).values(), looked_up(problem, device)]
        if isinstance(one, Stored)
    ]
    precompile(tasks, deadline)


def stored_answers(problem: Any, device: Any, arguments: argparse.Namespace) -> dict[str, Stored | str]:
    """Return the columns that databases give, or why they have nothing."""
    found: dict[str, Stored | str] = {}
    if arguments.triton_db is not None:
        found["triton"] = stored(arguments.triton_db, problem, device)
    if arguments.sm89_db is not None:
        found["sm89"] = stored(arguments.sm89_db, problem, device, "sm89")
    return found


def work(indices: list[int], items: Sequence[Item], arguments: argparse.Namespace) -> int:
    """Time problems one after another and answer each: the child's side."""
    from tunedb.measure.timing import GpuClock

    clock = GpuClock(0)
    for index in indices:
        try:
            problem = items[index].problem
            row = measured(
                items[index].id, problem, clock, stored_answers(problem, clock.device, arguments),
                slug=arguments.device, compile_s=arguments.compile_seconds if arguments.compile else None,
            )  # fmt: skip
        except RuntimeError as error:  # the GPU's, or torch's: memory, a launch
            answer(index, died=said_of(error))
            if not clock.alive():
                return LOST
            continue
        answer(index, row=row._asdict())
    return 0


def row_of(item: Item, found: dict[str, Any]) -> Row:
    if "row" in found:
        return Row.of(found["row"])
    problem = item.problem
    return Row(item.id, problem.op, problem.dtype, problem.layout, None, {}, {}, [], [found["died"]])


def say(items: Sequence[Item], found: dict[str, Any]) -> None:
    row = row_of(items[found["index"]], found)
    times = "  ".join(f"{name} {one[0]:.1f}" for name, one in row.times.items())
    print(
        f"{row.id:8}{row.dtype:9}{row.layout:15}{times}  {'; '.join(row.failures)}",
        file=sys.stderr,
        flush=True,
    )


def write(results: Results, arguments: argparse.Namespace) -> None:
    if arguments.json is not None:
        results.write(arguments.json)
    if arguments.out is None:
        print(page(results, None))
    else:
        drawing = arguments.out.with_suffix(".svg")
        drawing.write_text(plot(results), encoding="utf-8")
        arguments.out.write_text(page(results, drawing.name), encoding="utf-8")
    if arguments.readme is not None:
        rewrite(arguments.readme, results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
