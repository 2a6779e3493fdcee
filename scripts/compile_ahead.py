"""Compile what a sweep will try first, on a machine without the GPU, so that the one with it finds the code in Triton's cache.

    TRITON_CACHE_DIR=/tmp/kernels python scripts/compile_ahead.py --device h100 --trials 16 out/suites/*.json
    TRITON_CACHE_DIR=/tmp/kernels tunedb sweep --minutes 8 --trials 16 --suite ...        (there, with the folder's content at the same path)

Triton's keys do not depend on the machine: the same version of Triton, built for the same version of Python, finds what another compiled.
The path of the folder must be the same, since Triton keeps whole paths in it. What a sweep by --minutes tries first rests on the databases: give both the same. One
without --minutes asks them for no candidates, so that it finds less there.
The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunedb import kernel as kernels
from tunedb.device import Device, by_slug
from tunedb.problem import Problem
from tunedb.record import Choice
from tunedb.suite import load_suite
from tunedb.tune.answers import Answers
from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.promising import begun
from tunedb.tune.settings import TRIALS, Settings
from tunedb.tune.space import searched


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", type=Path, nargs="+", help="captured models, a JSON file each")
    parser.add_argument("--device", type=by_slug, required=True, help="slug of the GPU")
    parser.add_argument("--trials", type=int, default=TRIALS, help="as the sweep's (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    given = parser.parse_args(argv)
    problems = list(dict.fromkeys(entry.problem() for suite in given.suites for entry in load_suite(suite)))
    counts: Counter[str] = Counter()
    pool = CompilePool(given.jobs, compiler="tunedb.compile:compile_candidate")
    waiting = first_choices(problems, given.device, given.trials)
    try:
        more = True
        while more or pool.outstanding:
            while more and pool.outstanding < 2 * pool.size:
                task = next(waiting, None)
                more = task is not None
                if task is not None:
                    problem, choice = task
                    pool.submit(task, choice.kernel, problem, choice.config, given.device)
            if pool.outstanding:
                outcome = pool.next().outcome
                counts["bug" if isinstance(outcome, Bug) else outcome.status] += 1
                if counts.total() % 200 == 0:
                    print(f"{counts.total()} compiled: {dict(counts)}", file=sys.stderr, flush=True)
    finally:
        pool.close()
    print(json.dumps({"problems": len(problems), "candidates": counts.total(), **counts}))
    return int(bool(counts["bug"]))


def first_choices(
    problems: Sequence[Problem], device: Device, trials: int
) -> Iterator[tuple[Problem, Choice]]:
    """Yield the choices of each problem that a sweep of so many trials makes before it has seen any result."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Settings(device, "measured", trials, "", Path(folder) / "none.sqlite"), kernels)
        try:
            for problem in problems:
                space = searched(problem, device, kernels, measured=True)
                _, recommended = answers.recommended(problem)
                search = begun(space, trials, recommended, answers.kin(problem))
                while search.seeded and (choice := search.ask()) is not None:
                    yield problem, choice
        finally:
            answers.close()


if __name__ == "__main__":
    raise SystemExit(main())
