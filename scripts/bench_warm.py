"""What a model's layers save with a cold L2, as records are timed, and with their input in it, as a model leaves it.

    python scripts/bench_warm.py out/suites/hifigan-float16-channels_first.json --db out/h100.sqlite --json out/warm.json

For every layer of a captured suite that a kernel of tunedb answers, torch and tunedb are timed in turn three ways: after L2 was
overwritten ("cold": what records hold), after that and a pass that writes the input once more ("input": what a model does, as far
as the input fits into L2), and right after the same call ("hot"). Sums are over calls of one forward pass, in microseconds. The
saving that arrives in a CUDA graph (scripts/bench_models.py) lies near "input" where layers follow each other at once; what it
differs from "cold" is what `tunedb report` promises too much or too little. The last line of stdout is one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.sources import call_of, looked_up, precompile

ROUNDS = 15
WAYS = ("cold", "input", "hot")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", type=Path, nargs="+", help="captured models")
    parser.add_argument("--db", type=Path, help="answers before the shipped databases")
    parser.add_argument("--json", type=Path, help="also write the sums there")
    given = parser.parse_args()
    if given.db:
        os.environ["TUNEDB_PATH"] = str(given.db)
    import torch

    from tunedb.describe import table
    from tunedb.device import current
    from tunedb.suite import load_suite

    if not torch.cuda.is_available():
        sys.exit("layers must be timed on a GPU, but this machine has none.")
    device, found = current(0), {}
    for path in given.suites:
        entries = [
            (one, looked_up(one.problem(), device)) for one in load_suite(path) if one.dtype != "bfloat16"
        ]
        ours = [(one, answer) for one, answer in entries if answer is not None]
        precompile(
            [(answer.kernel, one.problem(), answer.config, device) for one, answer in ours], float("inf")
        )
        sums = dict.fromkeys((f"{side} {way}" for way in WAYS for side in ("torch", "tunedb")), 0.0)
        for one, answer in ours:
            for way, pair in layer_us(one.problem(), answer, device).items():
                for side, us in zip(("torch", "tunedb"), pair, strict=True):
                    sums[f"{side} {way}"] += one.calls * us
        saved = {way: sums[f"torch {way}"] - sums[f"tunedb {way}"] for way in WAYS}
        found[path.stem] = {"layers": len(ours), "of": len(entries), "us": sums, "saved_us": saved}
        print(path.stem, json.dumps(found[path.stem]), file=sys.stderr, flush=True)
    rows = [
        (name, f"{one['layers']} of {one['of']}", *(f"{one['saved_us'][way]:.0f}" for way in WAYS), f"{one['saved_us']['input'] / one['saved_us']['cold']:.2f}")
        for name, one in found.items() if one["saved_us"]["cold"]
    ]  # fmt: skip
    print(table(("suite", "layers by tunedb", *(f"saved, {way}, us" for way in WAYS), "input / cold"), rows))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n")
    print(json.dumps(found))
    return 0


def layer_us(problem: Any, answer: Any, device: Any) -> dict[str, tuple[float, float]]:
    """Return torch's and tunedb's microseconds a call, each way."""
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import GpuClock

    clock = GpuClock(0, device)
    yardstick = Yardstick(problem, clock)

    def touch() -> None:
        for x in {yardstick.tensors.x, yardstick.torch_tensors.x}:
            x.mul_(1)

    calls = (yardstick.torch_call, call_of(yardstick, answer.kernel, answer.config))
    with yardstick.settings():
        return {way: _in_turn(calls, way, clock, touch) for way in WAYS}


def _in_turn(
    calls: Sequence[Callable[[], Any]], way: str, clock: Any, touch: Callable[[], None]
) -> tuple[float, float]:
    import torch

    marks: list[list[tuple[Any, Any]]] = [[] for _ in calls]
    for turn in range(ROUNDS):
        for index in sorted(range(len(calls)), reverse=bool(turn % 2)):
            clock.hold()
            if way == "input":
                touch()
            elif way == "hot":
                calls[index]()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            calls[index]()
            end.record()
            marks[index].append((start, end))
    torch.cuda.synchronize()
    first, second = (
        statistics.median(1e3 * start.elapsed_time(end) for start, end in some) for some in marks
    )
    return first, second


if __name__ == "__main__":
    sys.exit(main())
