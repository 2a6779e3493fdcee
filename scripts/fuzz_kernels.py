"""Run random problems, and torch's own test samples, through random valid configs of every kernel, against float64.

    python scripts/fuzz_kernels.py --seconds 600 --seed 1 --out out/fuzz

Each config is compiled once, in a pool of processes, and launched on the problem and on relatives that share its machine code
(other batches and extents), every one three times: on a poisoned output, again, and over the result, between guards of NaN. A failure
is a line of failures.jsonl in --out, with all that repeats it (`--again FILE`). The last line of stdout is one JSON
object: launches by kernel and outcome. Status 1: a launch was wrong (beyond what its arithmetic can give, other bits in another
call, or memory that is not its own), crashed or hung. "refused" is no failure: less exact than the error contract of a sweep.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz.random_problems import random_problem, relative, samples_of_torch

from tunedb.device import Device, current
from tunedb.kernel import config_from_json, load, names
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement
from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.gpu_process import Limits, PrepareError, Runner
from tunedb.tune.space import Space

BAD = ("wrong", "crashed", "timed-out", "bug")
LAUNCHED = ("ok", "refused", "wrong", "crashed", "timed-out")
BENCH = "fuzz.launches:Launches"
LIMITS = Limits(compile_s=60.0, prepare_s=120.0, trial_s=20.0)
AHEAD = 3  # compilations under way for each process of the pool
TRIES = 4  # draws of a relative for each that is wanted


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--launches", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--relatives", type=int, default=24, help="launches a compiled config, beside the first"
    )
    parser.add_argument("--samples", action="store_true", help="torch's own test samples first")
    parser.add_argument("--kernel", help="one kernel only")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--again", type=Path, help="repeat the failures of such a file")
    given = parser.parse_args()
    deadline = time.monotonic() + given.seconds
    given.out.mkdir(parents=True, exist_ok=True)
    # Children import what they are named from here, beside all that this process may import.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    )
    device, rng = current(0), random.Random(given.seed)
    runner = Runner(0, device, bench=BENCH, limits=LIMITS)
    pool = CompilePool(max(1, len(os.sched_getaffinity(0)) - 2), compiler="tunedb.compile:compile_candidate")
    counts: Counter[tuple[str, str]] = Counter()
    with (given.out / f"failures-{given.seed}.jsonl").open("a", encoding="utf-8") as failures:

        def note(problem: Problem, choice: Choice, found: Measurement) -> None:
            counts[choice.kernel, found.status] += 1
            if found.status in BAD:
                line = {"problem": list(problem), "kernel": choice.kernel, "config": choice.config, "seed": given.seed, "status": found.status, "detail": found.detail}  # fmt: skip
                print(json.dumps(line), file=failures, flush=True)
                print(line, file=sys.stderr, flush=True)

        tasks = (
            repeated(given.again) if given.again else drawn(device, rng, given.kernel, samples=given.samples)
        )
        try:
            fuzz(
                tasks, device, rng, pool, runner, note,
                lambda: time.monotonic() < deadline and counts.total() < given.launches, given.relatives,
            )  # fmt: skip
        finally:
            pool.close()
            runner.close()
    print(json.dumps(summary(counts) | {"seed": given.seed, "device": device.slug}))
    return int(any(status in BAD for _, status in counts))


def fuzz(
    tasks: Iterator[tuple[Problem, Choice]], device: Device, rng: random.Random, pool: CompilePool, runner: Runner,
    note: Callable[[Problem, Choice, Measurement], None], goes_on: Callable[[], bool], relatives: int,
) -> None:  # fmt: skip
    """Compile ahead, launch what was compiled, tell `note` each outcome."""
    left = True
    while goes_on() and (left or pool.outstanding):
        while left and pool.outstanding < AHEAD * pool.size:
            task = next(tasks, None)
            left = task is not None
            if task is not None:
                problem, choice = task
                pool.submit(task, choice.kernel, problem, choice.config, device)
        if not pool.outstanding:
            return
        (problem, choice), compiled = pool.next()
        if isinstance(compiled, Bug):
            note(problem, choice, Measurement("bug", detail=compiled.traceback))
            continue
        if compiled.status != "ok":
            note(problem, choice, compiled)
            continue
        for one in [problem, *sharing(problem, choice, rng, relatives)]:
            if not goes_on():
                return
            note(one, choice, launched(runner, one, choice))


def launched(runner: Runner, problem: Problem, choice: Choice) -> Measurement:
    try:
        runner.prepare(problem, look=True)
        return runner.trial(*choice)
    except PrepareError as error:
        return Measurement("unprepared", detail=str(error))


def drawn(
    device: Device, rng: random.Random, only: str | None, *, samples: bool
) -> Iterator[tuple[Problem, Choice]]:
    """Yield problems, each with a random valid config of a random kernel; of a sample of torch one of every kernel."""
    known = {name: load(name) for name in names() if name != "aten" and only in (None, name)}
    for problem in samples_of_torch() if samples else ():
        for name, kernel in known.items():
            choice = Space(problem, device, {name: kernel}).draw(rng, set())
            if choice is not None:
                yield problem, choice
    while True:
        name = rng.choice(sorted(known))
        problem = random_problem(rng)
        space = Space(problem, device, {name: known[name]})
        choice = space.draw(rng, set()) if space.kernels else None
        if choice is not None:
            yield problem, choice


def repeated(path: Path) -> Iterator[tuple[Problem, Choice]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        yield Problem(*found["problem"]), Choice(found["kernel"], found["config"])


def sharing(problem: Problem, choice: Choice, rng: random.Random, count: int) -> list[Problem]:
    """Return relatives of a problem for which a config has the same machine code."""
    kernel = load(choice.kernel)
    config = config_from_json(kernel, choice.config)
    code = _code(kernel.signature(problem, config))
    found: list[Problem] = []
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        one = relative(problem, rng)
        if one is not None and _code(kernel.signature(one, config)) == code:
            found.append(one)
    return found


def _code(signature: Any) -> Any:
    """Return what decides the machine code."""
    if signature is None:
        return None
    return signature.fn.__name__, signature.types, signature.constexprs, signature.aligned


def summary(counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    by_kernel: dict[str, dict[str, int]] = {}
    for (kernel, status), count in sorted(counts.items()):
        by_kernel.setdefault(kernel, {})[status] = count
    launches = sum(count for (_, status), count in counts.items() if status in LAUNCHED)
    return {"launches": launches, "by_kernel": by_kernel}


if __name__ == "__main__":
    sys.exit(main())
