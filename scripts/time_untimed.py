"""Time what would have answered problems that nobody has swept, each beside torch's own kernel, on this machine's GPU.

    python scripts/check_unseen.py benchmarks/trials/*.csv.gz --by model --untimed out/untimed.jsonl
    python scripts/time_untimed.py out/untimed.jsonl --out out/timed.jsonl --minutes 8            (on the GPU)
    python scripts/check_unseen.py benchmarks/trials/*.csv.gz --by model --timed out/timed.jsonl

A line of the first file is a config of a problem on a device; those of other devices are left out. Each problem's configs are
compiled in parallel, verified against float64 and timed in turn with torch's kernel, as in the final pass of a sweep. The result
has a line a problem: device, problem, torch's microseconds, and each config with its status and time. What it already has is not
timed again, so that a run that was stopped goes on. The last line of stdout is one JSON object. Status 1: a config was wrong.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from trials.timed import Timed, read, untimed

from tunedb.device import Device, current
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement
from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.gpu_process import PrepareError, Runner

BENCH = "tunedb.measure.bench:Bench"
COMPILER = "tunedb.compile:compile_candidate"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("untimed", type=Path, help="what check_unseen.py --untimed wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing after so many")
    given = parser.parse_args(argv)
    deadline = time.monotonic() + 60 * given.minutes
    device = current(0)
    done = {one.problem for one in read(given.out)} if given.out.exists() else set()
    asked = {one: choices for one, choices in untimed(given.untimed, device.slug).items() if one not in done}
    counts: Counter[str] = Counter()
    runner = Runner(0, device, bench=BENCH)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with given.out.open("a", encoding="utf-8") as out:
            for problem, compiled in compiled_ahead(asked, device):
                if time.monotonic() > deadline:
                    break
                found = timed(runner, problem, compiled, device.slug)
                if found is None:
                    counts["unprepared"] += 1
                    continue
                print(found.line(), file=out, flush=True)
                counts.update(one.status for _, one in found.results)
                counts["problems"] += 1
    finally:
        runner.close()
    print(json.dumps({"device": device.slug, "left": len(asked) - counts["problems"], **counts}))
    return int(counts["wrong"] > 0)


def timed(runner: Runner, problem: Problem, compiled: dict[Choice, Measurement], slug: str) -> Timed | None:
    """Time a problem's configs that could be compiled; None where the problem does not fit this GPU."""
    ready = [choice for choice, one in compiled.items() if one.status == "ok"]
    try:
        runner.prepare(problem)
        torch, *measured = runner.final([tuple(choice) for choice in ready])
    except PrepareError:
        return None
    results = compiled | dict(zip(ready, measured, strict=True))
    return Timed(slug, problem, torch.time_us, tuple(results.items()))


def compiled_ahead(
    asked: dict[Problem, list[Choice]], device: Device
) -> Iterator[tuple[Problem, dict[Choice, Measurement]]]:
    """Yield each problem once all its configs are compiled, while others are."""
    pool = CompilePool(max(1, len(os.sched_getaffinity(0)) - 2), compiler=COMPILER)
    left = {problem: len(choices) for problem, choices in asked.items()}
    found: dict[Problem, dict[Choice, Measurement]] = {problem: {} for problem in asked}
    try:
        for problem, choices in asked.items():
            for choice in choices:
                pool.submit((problem, choice), choice.kernel, problem, choice.config, device)
        while pool.outstanding:
            (problem, choice), outcome = pool.next()
            if isinstance(outcome, Bug):
                raise RuntimeError(outcome.traceback)  # noqa: TRY004 (what a compile process raised)
            found[problem][choice] = outcome
            left[problem] -= 1
            if not left[problem]:
                yield problem, found[problem]
    finally:
        pool.close()


if __name__ == "__main__":
    raise SystemExit(main())
