"""Wall time of CUDA graphs: tunedb's answer against torch's own, captured and replayed the same way.

    python scripts/bench_graphs.py --gpus all --out benchmarks/h200/graphs.md

Each graph holds 20 calls, captured after a warm-up on the stream of the capture, which keeps the packed weights. A time is
that of a few milliseconds of replays, host waiting to host waiting, by the calls in them; both take turns, L2 as warm
as replays leave it. Torch has cudnn.benchmark=True. What the last call of a graph computed is checked against float64. The
last line of stdout is one JSON object. Status 1: something failed or was not reached in time.
"""

import argparse
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu_shards import LOST, answer, chosen_gpus, dealt, said_of
from bench.items import Item, command, wanted
from bench.report import mean, table
from bench.results import Spread, heading_here
from bench.sources import looked_up, precompile

CALLS = 20  # in a graph
WARM_UPS = 3
REPLAYS_US = 4e3  # of replays a timing
ROUNDS = 15

Captured = tuple[Callable[[], Any], Any]  # replay, and what its last call wrote


class Row(NamedTuple):
    """One problem: wall microseconds a call (median, 20th and 80th percentile), and what answered."""

    id: str
    op: str
    dtype: str
    layout: str
    kernel: str
    tier: str
    reason: str
    tunedb_us: Spread | None
    cudnn_us: Spread | None
    failure: str

    @property
    def ratio(self) -> float | None:
        """Torch's time over tunedb's."""
        return self.cudnn_us[0] / self.tunedb_us[0] if self.cudnn_us and self.tunedb_us else None


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.db is not None:
        os.environ["TUNEDB_PATH"] = str(arguments.db.absolute())
    items = wanted(
        arguments.suite, arguments.dtype, arguments.layout, arguments.only, arguments.batch or None
    )
    if arguments.work:
        return work([int(index) for index in arguments.work.split(",")], items, arguments.device)
    import torch

    if not torch.cuda.is_available():
        sys.exit("bench_graphs needs a CUDA GPU, but torch sees none.")
    from tunedb.device import by_slug

    deadline = time.monotonic() + arguments.seconds
    device = by_slug(arguments.device)
    found = [(item.problem, looked_up(item.problem, device)) for item in items]
    precompile(((one.kernel, problem, one.config, device) for problem, one in found if one), deadline)
    order = sorted(range(len(items)), key=lambda index: -items[index].problem.bytes)
    answers = dealt(
        [__file__, *sys.argv[1:]], order, chosen_gpus(arguments.gpus), deadline, partial(say, items)
    )
    rows = [row_of(items[index], answers[index]) for index in sorted(answers)]
    text = page(rows, f"{heading_here()}.", command(sys.argv), arguments.suite)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    said = summary(rows) | {"unmeasured": len(items) - len(rows)}
    print(json.dumps(said))
    return int(bool(said["failures"] or said["unmeasured"]))


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="models", help="a shipped suite or a file (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="0 for all (default: %(default)s)")
    parser.add_argument("--dtype", default="float16", help="(default: %(default)s)")
    parser.add_argument("--layout", default="channels_first", help="(default: %(default)s)")
    parser.add_argument("--only", help="ids of problems, as in M004_n1,M005_n1 (default: all)")
    parser.add_argument("--device", default="h200", help="slug of the GPU (default: %(default)s)")
    parser.add_argument("--db", type=Path, help="what answers (default: as tunedb is set up)")
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=540.0, help="end after that (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="Markdown file (default: stdout)")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of items: what a child is started with
    return parser.parse_args(argv)


def work(indices: Sequence[int], items: Sequence[Item], slug: str) -> int:
    """Time problems one after another and answer each: the child's side."""
    from tunedb.measure.timing import GpuClock

    clock = GpuClock(0)
    for index in indices:
        try:
            row = measured(items[index], clock, slug)
        except RuntimeError as error:  # the GPU's, or torch's: memory, a launch, a capture
            answer(index, died=said_of(error))
            if not clock.alive():
                return LOST
            continue
        answer(index, row=row._asdict())
    return 0


def captured(call: Callable[[], Any]) -> Captured:
    """Capture calls in a CUDA graph, on the stream where they were warmed up."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(CALLS):
            out = call()
    return graph.replay, out


def measured(
    item: Item,
    clock: Any,
    slug: str,
    capture: Callable[[Callable[[], Any]], Captured] = captured,
    wait: Callable[[], None] | None = None,
) -> Row:
    """Capture tunedb's answer and torch's, hold the first against float64 and time both in turn."""
    import torch

    import tunedb
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import spread

    problem = item.problem
    yardstick = Yardstick(problem, clock)
    x, weight, bias = yardstick.tensors  # they have cudnn.benchmark's plan
    function, sizes = getattr(tunedb, problem.op), problem.torch_sizes

    def dispatched() -> Any:
        with yardstick.settings(searched=True):
            return function(x, weight, bias, **sizes)

    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", tunedb.TunedbWarning)
        with yardstick.settings(searched=True):
            found = tunedb.explain(problem.op, x, weight, bias, device=slug, **sizes).answer
        graphs = [capture(dispatched), capture(yardstick.torch_in_mode(True))]
        replays = [replay for replay, _ in graphs]
        times = wall_us(replays, wait or torch.cuda.synchronize)
        judged = yardstick.judge(graphs[0][1])
    failures = [str(one.message) for one in said if issubclass(one.category, tunedb.TunedbWarning)]
    if judged.status != "ok" and found.kernel != "aten":
        failures.append(judged.detail)
    tunedb.clear()
    return Row(
        item.id, problem.op, problem.dtype, problem.layout, found.kernel, found.tier, found.reason,
        spread(times[0]), spread(times[1]), "; ".join(failures),
    )  # fmt: skip


def wall_us(replays: Sequence[Callable[[], Any]], wait: Callable[[], None]) -> list[list[float]]:
    """Return the wall microseconds a call of each graph, replayed in turn."""

    def once(replay: Callable[[], Any], times: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(times):
            replay()
        wait()
        return 1e6 * (time.perf_counter() - start) / times

    for replay in replays:
        once(replay, 1)  # uploads the graph
    counts = [max(1, math.ceil(REPLAYS_US / once(replay, 3))) for replay in replays]
    times: list[list[float]] = [[] for _ in replays]
    for turn in range(ROUNDS):
        for index in range(len(replays))[:: 1 if turn % 2 else -1]:
            times[index].append(once(replays[index], counts[index]) / CALLS)
    return times


def row_of(item: Item, found: dict[str, Any]) -> Row:
    if "row" in found:
        given = found["row"]
        spreads = {name: given[name] and tuple(given[name]) for name in ("tunedb_us", "cudnn_us")}
        return Row(**{**given, **spreads})
    problem = item.problem
    return Row(item.id, problem.op, problem.dtype, problem.layout, "", "", "", None, None, str(found["died"]))


def say(items: Sequence[Item], found: dict[str, Any]) -> None:
    row = row_of(items[found["index"]], found)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    print(f"{row.id:12}{row.op:18}{row.kernel:15}{ratio:6}{row.failure}", file=sys.stderr, flush=True)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return geometric means of torch's time over tunedb's, and what is below 1."""
    found: dict[str, Any] = {}
    for name, chosen in (
        ("transposed", [row for row in rows if "transpose" in row.op]),
        ("forward", [row for row in rows if "transpose" not in row.op]),
    ):
        ratios = [row.ratio for row in chosen if row.ratio is not None]
        found[name] = {
            "problems": len(chosen), "of": len(ratios), "times_cudnn": mean(ratios),
            "wins": sum(ratio > 1 for ratio in ratios), "by_torch": sum(row.kernel == "aten" for row in chosen),
        }  # fmt: skip
    slower = sorted(
        (row for row in rows if row.ratio is not None and row.ratio < 1), key=lambda row: row.ratio or 0
    )
    found["below_1"] = [
        [row.id, row.dtype, row.layout, row.kernel, round(row.ratio or 0, 3)] for row in slower
    ]
    found["failures"] = [[row.id, row.dtype, row.layout, row.failure] for row in rows if row.failure]
    return found


def page(rows: Sequence[Row], heading: str, told: str, suite: str) -> str:
    """Return the whole as Markdown."""
    found = summary(rows)
    means = [
        [name, str(one["problems"]), "" if one["times_cudnn"] is None else f"{one['times_cudnn']:.2f}x ({one['of']})",
         f"{one['wins']} of {one['of']}", str(one["by_torch"])]
        for name, one in found.items() if name in {"transposed", "forward"}
    ]  # fmt: skip
    lines = [
        [row.id, row.op, row.dtype, row.layout, row.kernel, row.tier, _spread(row.tunedb_us), _spread(row.cudnn_us),
         "" if row.ratio is None else f"{row.ratio:.2f}"]
        for row in rows
    ]  # fmt: skip
    below = [
        f"- {row.id} {row.op} {row.dtype} {row.layout}: {row.ratio:.3f}, by {row.kernel} ({row.tier}): {row.reason}"
        for row in sorted(rows, key=lambda row: row.ratio or math.inf)
        if row.ratio is not None and row.ratio < 1
    ]
    failures = [f"- {row.id} {row.dtype} {row.layout}: {row.failure}" for row in rows if row.failure]
    heads = ["problem", "op", "dtype", "layout", "kernel", "tier", "tunedb µs", "torch µs", "torch / tunedb"]
    return "\n\n".join([
        f"# {suite}: CUDA graphs of tunedb's answers and of torch's", heading, f"Command: `{told}`", _EXPLAINED,
        table(["", "problems", "over torch", "faster", "answered by torch"], means),
        "## Below 1.0", "\n".join(below) or "None.", "## Failures", "\n".join(failures) or "None.",
        "## Every problem", table(heads, lines),
    ]) + "\n"  # fmt: skip


_EXPLAINED = f"""Wall time a call, in microseconds: {CALLS} calls in a CUDA graph, replayed for some milliseconds and waited for,
both graphs in turn; medians with 20th and 80th percentile, geometric means, in parentheses over how many problems.
Torch has `cudnn.benchmark=True`. L2 is as warm as the replays leave it."""


def _spread(one: Spread | None) -> str:
    return "" if one is None else f"{one[0]:.2f} ({one[1]:.2f} to {one[2]:.2f})"


if __name__ == "__main__":
    sys.exit(main())
