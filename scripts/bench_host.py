"""Host time of a call, tunedb's beside torch's: where torch answers, where a plan does, by function and by module.

    python scripts/bench_host.py --out benchmarks/h100/host.md
    python scripts/bench_host.py --suite out/suites/resnet50.json --out host.md

The calls are small layers of the suite `models` at batch 1, so that the GPU is never what is waited for; each is made 300 times
between two synchronisations, both sides in turn, and the median of the turns counts. --suite takes all layers of captured models
instead, 20 calls at a time, so that the host does not wait for a full queue, and sums them over a forward pass.
"""

import argparse
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tunedb
from tunedb.describe import table
from tunedb.device import current
from tunedb.dispatch.graphs_only import too_short_for_eager
from tunedb.dispatch.lookup import answer
from tunedb.measure.versions import environment
from tunedb.problem import Problem
from tunedb.suite import Entry, load_suite
from tunedb.torch_internals import CONVOLUTIONS

CALLS, FEW, TURNS = 300, 20, 15
LARGEST = 2e8  # operations: above, the GPU could be what is waited for
EACH = 8  # layers of each kind and dtype


class Row(NamedTuple):
    layer: str
    dtype: str
    answered_by: str
    torch_us: float
    tunedb_us: float
    times: int = 1  # a forward pass


def host_us(calls: list[Callable[[], Any]], count: int = CALLS) -> list[float]:
    """Return the median host time of each call, in microseconds; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        for _ in range(20):
            call()
    for _ in range(TURNS):
        for mine, call in zip(times, calls, strict=True):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(count):
                call()
            mine.append((time.perf_counter() - begin) / count * 1e6)
    torch.cuda.synchronize()
    return [statistics.median(mine) for mine in times]


def row_of(entry: Entry, dtype: str) -> Row | None:
    """Time a layer; None where the GPU would be waited for."""
    problem = entry.problem(dtype, "tf32" if dtype == "float32" else "ieee")
    return None if problem.n != 1 or problem.flops > LARGEST else timed(entry.id, problem, CALLS)


def timed(layer: str, problem: Problem, count: int) -> Row:
    found = answer(problem, current(0))
    kind = getattr(torch, problem.dtype)
    x, weight = (torch.randn(shape, device="cuda", dtype=kind) for shape in (problem.input_shape, problem.weight_shape))  # fmt: skip
    if problem.layout == "channels_last":
        form = torch.channels_last if problem.rank == 2 else torch.channels_last_3d
        x, weight = (one.contiguous(memory_format=form) for one in (x, weight))
    kept = torch.nn.Parameter(weight, requires_grad=False)
    bias = torch.randn(problem.c_out, device="cuda", dtype=kind) if problem.bias else None
    sizes = problem.torch_sizes
    theirs, ours = CONVOLUTIONS[problem.op], getattr(tunedb, problem.op)
    us = host_us([lambda: theirs(x, kept, bias, **sizes), lambda: ours(x, kept, bias, **sizes)], count)
    kernel = f"{found.kernel} in graphs" if too_short_for_eager(found) else found.kernel
    return Row(layer, problem.dtype, kernel, *us)


def rows_of_models() -> list[Row]:
    """Time small layers of `models`, as many that torch answers as that tunedb answers, and shapes that no database knows."""
    rows: list[Row] = []
    for dtype in ("float16", "bfloat16", "float32"):
        counts: dict[bool, int] = {True: 0, False: 0}
        for entry in load_suite("models"):
            problem = entry.problem(dtype, "tf32" if dtype == "float32" else "ieee")
            torchs = answer(problem, current(0)).kernel == "aten"
            if counts[torchs] < EACH and (row := row_of(entry, dtype)):
                counts[torchs] += 1
                rows.append(row)
    for channels in (17, 33):
        sizes = {"padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": True}
        entry = Entry(
            f"unknown{channels}", 0, "conv2d", 1, channels, (9, 9), channels, (5, 3), (1, 1), **sizes
        )
        rows += filter(None, [row_of(entry, "float16"), row_of(entry, "float32")])
    return rows


def rows_of(suites: list[Path]) -> list[Row]:
    """Time every layer of captured models."""
    calls: Counter[tuple[str, Problem]] = Counter()
    for entry in (entry for suite in suites for entry in load_suite(suite)):
        calls[entry.modules[0] if entry.modules else entry.id, entry.problem()] += entry.calls
    return [timed(*layer, FEW)._replace(times=count) for layer, count in calls.items()]


def page(rows: list[Row], command: str) -> str:
    """Return the figures as Markdown."""
    facts = environment()
    where = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    lines = [
        f"# Host time of a call\n\n{torch.cuda.get_device_name()}, {where}, {time.strftime('%Y-%m-%d')} (`{command}`)\n"
    ]
    for name, some in (
        ("torch answers", [row for row in rows if row.answered_by == "aten"]),
        ("tunedb answers", [row for row in rows if row.answered_by != "aten"]),
    ):
        if some:
            ratios = sorted(row.tunedb_us / row.torch_us for row in some)
            lines.append(
                f"Where {name}: {statistics.median(ratios):.3f} of torch's host time in the median, {ratios[0]:.3f} to {ratios[-1]:.3f}, {len(some)} layers.\n"
            )
    cells = [
        (
            one.layer,
            one.dtype,
            one.answered_by,
            str(one.times),
            f"{one.torch_us:.2f}",
            f"{one.tunedb_us:.2f}",
            f"{one.tunedb_us / one.torch_us:.3f}",
        )
        for one in rows
    ]
    theirs, ours = (
        sum(row.times * row.torch_us for row in rows),
        sum(row.times * row.tunedb_us for row in rows),
    )
    lines.append(f"All calls together: torch {theirs:.0f} us, tunedb {ours:.0f} us.\n")
    return "\n".join(
        [
            *lines,
            "```",
            table(("layer", "dtype", "answered by", "calls", "torch us", "tunedb us", "ratio"), cells),
            "```",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path, action="append", help="a captured model; may be repeated")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode(mode=False), torch.no_grad():
        rows = rows_of(given.suite) if given.suite else rows_of_models()
    command = shlex.join(["python", "scripts/bench_host.py", *sys.argv[1:]])
    text = page(rows, command)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
