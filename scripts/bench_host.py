"""Host time of a call, tunedb's beside torch's: where torch answers, where a plan does, by function and by module.

    python scripts/bench_host.py --out benchmarks/h100/host.md

The calls are small layers of the suite `models` at batch 1, so that the GPU is never what is waited for; each is made 300 times
between two synchronisations, both sides in turn, and the median of the turns counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tunedb
from tunedb.describe import table
from tunedb.device import current
from tunedb.dispatch.lookup import answer
from tunedb.measure.versions import environment
from tunedb.suite import Entry, load_suite
from tunedb.torch_internals import CONVOLUTIONS

CALLS, TURNS = 300, 15
LARGEST = 2e8  # operations: above, the GPU could be what is waited for
EACH = 8  # layers of each kind and dtype


class Row(NamedTuple):
    layer: str
    dtype: str
    answered_by: str
    torch_us: float
    tunedb_us: float


def host_us(calls: list[Callable[[], Any]]) -> list[float]:
    """Return the median host time of each call, in microseconds; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        for _ in range(20):
            call()
    for _ in range(TURNS):
        for mine, call in zip(times, calls, strict=True):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(CALLS):
                call()
            mine.append((time.perf_counter() - begin) / CALLS * 1e6)
    torch.cuda.synchronize()
    return [statistics.median(mine) for mine in times]


def row_of(entry: Entry, dtype: str) -> Row | None:
    """Time a layer; None where the GPU would be waited for."""
    problem = entry.problem(dtype, "tf32" if dtype == "float32" else "ieee")
    if problem.n != 1 or problem.flops > LARGEST:
        return None
    found = answer(problem, current(0))
    kind = getattr(torch, dtype)
    x, weight = (
        torch.randn(shape, device="cuda", dtype=kind) for shape in (problem.input_shape, problem.weight_shape)
    )
    bias = torch.randn(problem.c_out, device="cuda", dtype=kind) if problem.bias else None
    sizes = problem.torch_sizes
    theirs, ours = CONVOLUTIONS[problem.op], getattr(tunedb, problem.op)
    torch_us, tunedb_us = host_us(
        [lambda: theirs(x, weight, bias, **sizes), lambda: ours(x, weight, bias, **sizes)]
    )
    return Row(entry.id, dtype, found.kernel, torch_us, tunedb_us)


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
            f"{one.torch_us:.2f}",
            f"{one.tunedb_us:.2f}",
            f"{one.tunedb_us / one.torch_us:.3f}",
        )
        for one in rows
    ]
    return "\n".join(
        [
            *lines,
            "```",
            table(("layer", "dtype", "answered by", "torch us", "tunedb us", "ratio"), cells),
            "```",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    rows: list[Row] = []
    with torch.inference_mode(mode=False), torch.no_grad():
        for dtype in ("float16", "bfloat16", "float32"):
            counts: dict[bool, int] = {True: 0, False: 0}
            for entry in load_suite("models"):
                device = current(0)
                problem = entry.problem(dtype, "tf32" if dtype == "float32" else "ieee")
                torchs = answer(problem, device).kernel == "aten"
                if counts[torchs] < EACH and (row := row_of(entry, dtype)):
                    counts[torchs] += 1
                    rows.append(row)
        # A shape that no database knows is torch's.
        for channels in (17, 33):
            entry = Entry(
                f"unknown{channels}",
                0,
                "conv2d",
                1,
                channels,
                (9, 9),
                channels,
                (5, 3),
                (1, 1),
                (0, 0),
                (0, 0),
                (1, 1),
                1,
                True,
            )
            rows += filter(None, [row_of(entry, "float16"), row_of(entry, "float32")])
    command = "python scripts/bench_host.py" + (f" --out {given.out}" if given.out else "")
    text = page(rows, command)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
