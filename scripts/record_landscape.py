"""Record what every config of a kernel takes on a problem: a landscape, on which searches can be compared.

    python scripts/record_landscape.py implicit_gemm --only kb57,kb81 --gpus all
    python scripts/record_landscape.py kn2row --only kb54 --fix ORDER=m --fix "num_warps=4|8" --count 2000
    python scripts/record_landscape.py --from runs.jsonl --device h200 --date 2026-11-20

A file a problem, tests/landscapes/KERNEL-ID-DTYPE-LAYOUT.json.gz, with the configs in random order, so that a run
that the time limit ends has a fair sample; the same command goes on there. `--fix` narrows a field, so that what is
left can be exhausted. Configs are compiled ahead by all cores, verified and timed as a sweep does it, and a crash costs
one config. `--from` converts lines of [id, dtype, layout, kernel, config, microseconds or null, status, ...].
The last line of stdout is one JSON object; status 1: something is missing.
"""

import argparse
import collections
import datetime as dt
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu_shards import chosen_gpus
from bench.items import wanted
from samplers.landscape_jsonl import ENUMERATED, converted, valid_configs
from samplers.landscape_workers import Crew
from samplers.landscapes import Landscape, file_name, read, write

FOLDER = Path(__file__).parents[1] / "tests" / "landscapes"
VERSIONS = ("triton", "torch", "cudnn", "driver")


class Task(NamedTuple):
    """A landscape to record, and which of its configs are wanted, in the order of timing."""

    landscape: Landscape
    configs: list[tuple[Any, ...]]


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.jsonl:
        found = converted(
            arguments.jsonl, arguments.suite, arguments.device, arguments.date, arguments.versions
        )
        written = [write(one, arguments.out) for one in found]
        print(json.dumps({"landscapes": len(written), "configs": sum(len(one.rows) for one in found)}))
        return int(not written)
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            "record_landscape needs a CUDA GPU, but torch sees none; --from converts what was recorded elsewhere."
        )
    items = wanted(arguments.suite, arguments.dtype, arguments.layout, arguments.only)
    tasks = [task for item in items if (task := planned(item, arguments)) is not None]
    deadline = time.monotonic() + arguments.seconds
    recorded = record(tasks, chosen_gpus(arguments.gpus), arguments.out, deadline)
    missing = sum(len(task.configs) for task in tasks) - sum(recorded.values())
    print(json.dumps({"landscapes": len(tasks), "configs": sum(recorded.values()), "missing": missing}))
    return int(missing > 0 or not tasks)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernel", nargs="?", help="name of the kernel")
    parser.add_argument(
        "--suite", default="kernelbench", help="a shipped suite or a file (default: %(default)s)"
    )
    parser.add_argument("--only", help="ids of problems, as in kb57,kb81 (default: all)")
    parser.add_argument("--dtype", default="float32", help="(default: %(default)s)")
    parser.add_argument("--layout", default="channels_first", help="(default: %(default)s)")
    parser.add_argument(
        "--device", default="h200", help="slug, h200-sm89 for older code (default: %(default)s)"
    )
    parser.add_argument("--fix", action="append", default=[], metavar="FIELD=A|B", help="values to record")
    parser.add_argument("--count", type=int, help="configs a problem (default: every valid one)")
    parser.add_argument("--seed", type=int, default=0, help="of their order (default: %(default)s)")
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=540.0, help="end after that (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: tests/landscapes)")
    parser.add_argument("--from", dest="jsonl", type=Path, action="append", help="convert this file")
    parser.add_argument(
        "--date", default=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", help="of what --from converts"
    )
    parser.add_argument(
        "--versions", default="", help="of what --from converts, as in triton=3.6.0,torch=2.11.0"
    )
    arguments = parser.parse_args(argv)
    told = dict(part.partition("=")[::2] for part in arguments.versions.split(",") if part)
    if unknown := sorted(set(told) - set(VERSIONS)):
        parser.error(f"--versions must be of {', '.join(VERSIONS)}, but got {', '.join(unknown)}.")
    arguments.versions = {name: told.get(name, "") for name in VERSIONS}
    if (arguments.kernel is None) == (not arguments.jsonl):
        parser.error("give a kernel to record, or --from a file to convert.")
    return arguments


def planned(item: Any, arguments: argparse.Namespace) -> Task | None:
    """Return what is to be recorded of a problem, or None where the kernel does not apply to it."""
    from tunedb.device import by_slug
    from tunedb.kernel import load, source_hash
    from tunedb.measure.versions import environment

    kernel, device = load(arguments.kernel), by_slug(arguments.device)
    fields = kernel.space(item.problem, device) if item.problem.op in kernel.OPS else {}
    if not fields or not all(fields.values()):
        return None
    values = narrowed({field: tuple(fields[field]) for field in kernel.Config._fields}, arguments.fix)
    configs = valid_configs(kernel, item.problem, device, values)
    if configs is None:
        sys.exit(
            f"a space must have at most {ENUMERATED} configs, but {arguments.kernel} has more: --fix fields."
        )
    default = kernel.default(item.problem, device)
    versions, today = environment(), f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    landscape = Landscape(
        item.id, arguments.kernel, source_hash(arguments.kernel), item.problem, device.slug, versions, today,
        None, len(configs), tuple(default) if default in set(configs) else None, values, [],
    )  # fmt: skip
    random.Random(arguments.seed).shuffle(configs)
    landscape = landscape._replace(rows=earlier(arguments.out / file_name(landscape), landscape))
    return Task(landscape, configs[: arguments.count])


def narrowed(values: dict[str, tuple[Any, ...]], fixed: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Return the values with those fields that `fixed` names held to what it allows. Exits: for unknown ones."""
    found = dict(values)
    for text in fixed:
        field, _, allowed = text.partition("=")
        wanted_values = allowed.split("|")
        if field not in values or not {str(value) for value in values[field]} & set(wanted_values):
            known = ", ".join(f"{name}={'|'.join(map(str, given))}" for name, given in values.items())
            sys.exit(f"--fix must name a field and values of it, but got {text!r}: the fields are {known}.")
        found[field] = tuple(value for value in values[field] if str(value) in wanted_values)
    return found


def earlier(path: Path, landscape: Landscape) -> list[Any]:
    """Return what an earlier run of the same code on the same versions recorded of the same values."""
    if not path.is_file():
        return []
    known = read(path)
    same = all(
        getattr(known, field) == getattr(landscape, field)
        for field in ("kernel_hash", "problem", "device", "environment", "values")
    )
    return known.rows if same else []


def record(tasks: Sequence[Task], gpus: Sequence[int], folder: Path, deadline: float) -> dict[int, int]:
    """Time what is missing of each task and write its file; return how many wanted configs each has."""
    from tunedb.compile import compile_candidate
    from tunedb.device import by_slug
    from tunedb.kernel import config_to_json
    from tunedb.tune.compile_pool import Bug, CompilePool

    pool = CompilePool(
        max(1, len(os.sched_getaffinity(0)) - len(gpus)),
        compiler=f"{compile_candidate.__module__}:{compile_candidate.__name__}",
    )
    left: list[set[Any]] = []
    for index, (landscape, configs) in enumerate(tasks):
        known = {row[:-1] for row in landscape.rows}
        todo = [config for config in configs if tuple(config) not in known]
        left.append({tuple(config) for config in todo})
        for config in todo:
            task = (landscape.kernel, landscape.problem, config_to_json(config), by_slug(landscape.device))
            pool.submit((index, config), *task)
    waiting: dict[int, list[tuple[Any, Any]]] = collections.defaultdict(list)
    recorded = {}
    crew = Crew(gpus, tasks[0].landscape.device) if tasks else None
    try:
        for index, task in enumerate(tasks):
            rows, found = list(task.landscape.rows), 0
            expected = len(left[index])
            if expected and crew is not None:
                crew.begin(task.landscape.problem, task.landscape.kernel)
            while found < expected and time.monotonic() < deadline and crew is not None:
                while pool.outstanding and not waiting[index] and crew.idle:
                    take(pool.next(), waiting, Bug)
                for one in pool.collect():
                    take(one, waiting, Bug)
                for config, compiled in waiting.pop(index, []):
                    if compiled.status == "ok":
                        crew.time(config)
                    else:
                        rows.append((*config, compiled.status))
                        found += 1
                for config, measured in crew.ended(0.2):
                    rows.append((*config, shown(measured)))
                    found += 1
            aten_us = crew.aten_us if expected and crew is not None else None
            done = task.landscape._replace(rows=rows, aten_us=aten_us or kept_aten(task, folder))
            if rows:
                write(done, folder)
            recorded[index] = len(task.configs) - expected + found
            said = sorted(time_us for time_us in done.times.values())[:1]
            print(f"{done.label} {done.kernel}: {len(rows)} of {done.valid}, best {said} us, torch {done.aten_us}", file=sys.stderr, flush=True)  # fmt: skip
    finally:
        pool.close()
        if crew is not None:
            crew.close()
    return recorded


def take(ended: Any, waiting: dict[int, list[Any]], bug: Any) -> None:
    """Put a compiled config where its problem will find it. Exits: where the kernel has a bug."""
    index, config = ended.tag
    if isinstance(ended.outcome, bug):
        sys.exit(ended.outcome.traceback)
    waiting[index].append((config, ended.outcome))


def shown(measured: Any) -> float | str:
    """Return what a row says of a measurement: five digits are more than it knows."""
    return float(f"{measured.time_us:.5g}") if measured.status == "ok" else str(measured.status)


def kept_aten(task: Task, folder: Path) -> float | None:
    path = folder / file_name(task.landscape)
    return read(path).aten_us if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
