"""Compare samplers on recorded landscapes: the trials that each needs to reach 98 % of the best, and what fields are worth.

    python scripts/compare_samplers.py tests/landscapes/*.json.gz --out docs/samplers.md

Landscapes of one problem are searched together, as a sweep does. Each sampler runs with many seeds, 12 configs under
way at a time. A page and a plot are written beside each other; the last line of stdout is one JSON object.
Landscapes that hold less than --least-density of the valid configs are left out, and named: there a sampler's choices are
mostly not recorded, so that all of them do what random search does.
"""

import argparse
import datetime as dt
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from samplers.landscapes import Landscape, outcomes, read, together
from samplers.plot import plot
from samplers.replay import AHEAD, SAMPLERS, Replay, available, replayed
from samplers.report import Run, dimensions, page, table

NEAR = 0.98
SHOWN = 60  # trials of the plot and of the last column: what a sweep has


class Task(NamedTuple):
    """One replay."""

    ground: str
    sampler: str
    seed: int


def main() -> int:
    arguments = parsed(sys.argv[1:])
    found = [read(path) for path in arguments.landscapes]
    used = [one for one in found if useful(one, arguments.least_density)]
    left_out = [one for one in found if one not in used]
    if not used:
        sys.exit(
            f"at least one landscape must hold {arguments.least_density:.0%} of its valid configs, but the best of {len(found)} "
            f"holds {max((one.density or 0.0) for one in found):.1%}: record more of it, or fewer values (--fix)."
        )
    grounds = together(used)
    missing = {name: lacks for name in arguments.samplers if (lacks := available(SAMPLERS[name]))}
    names = [name for name in arguments.samplers if name not in missing]
    tasks = [
        Task(ground, name, seed)
        for name in names
        for ground in grounds
        for seed in range(arguments.slow_seeds if SAMPLERS[name].slow else arguments.seeds)
    ]
    replays = run(tasks, grounds, arguments)
    runs = {
        ground: Run(best_of(group), {
            name: [replays[task] for task in tasks if (task.ground, task.sampler) == (ground, name)] for name in names
        })
        for ground, group in grounds.items()
    }  # fmt: skip
    rows = table(runs, names, near=NEAR, trials=arguments.trials)
    worth = dimensions(used)
    if arguments.out is not None:
        drawing = arguments.out.with_suffix(".svg")
        drawing.write_text(plot(runs, names, SHOWN), encoding="utf-8")
        text = page(
            rows, worth, used, left_out, missing,
            facts=facts(arguments), drawing=drawing.name, least_density=arguments.least_density,
        )  # fmt: skip
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(page(rows, worth, used, left_out, missing, facts=facts(arguments), drawing=None, least_density=arguments.least_density))  # fmt: skip
    print(json.dumps({
        "landscapes": len(used), "left_out": len(left_out), "problems": len(grounds),
        "samplers": {row.name: row.figures() for row in rows},
        "missing": missing, "never": {name: one.never for name, one in worth.items() if one.never},
    }))  # fmt: skip
    return 0


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("landscapes", nargs="+", type=Path, help="files of record_landscape.py")
    parser.add_argument("--out", type=Path, help="Markdown file, its plot beside it (default: stdout)")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="replays of each (default: %(default)s)")
    parser.add_argument("--slow-seeds", type=int, default=3, help="of slow samplers (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=150, help="at most, in a replay (default: %(default)s)")
    parser.add_argument("--ahead", type=int, default=AHEAD, help="configs under way (default: %(default)s)")
    parser.add_argument(
        "--least-density", type=float, default=0.2, help="part of the valid configs (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="(default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    arguments.samplers = arguments.samplers.split(",")
    if unknown := sorted(set(arguments.samplers) - set(SAMPLERS)):
        parser.error(f"--samplers must be of {', '.join(SAMPLERS)}, but got {', '.join(unknown)}.")
    if arguments.trials < SHOWN:
        parser.error(f"--trials must be at least {SHOWN}, but got {arguments.trials}.")
    return arguments


def useful(one: Landscape, least: float) -> bool:
    """Return whether a landscape holds enough to be searched; one whose kernel cannot be asked counts as whole."""
    return len(one.times) > 1 and (one.density is None or one.density >= least)


def best_of(landscapes: Sequence[Landscape]) -> tuple[float, float]:
    """Return the best and the worst time of a problem."""
    times = [us for one in landscapes for us in one.times.values()]
    return min(times), max(times)


def run(tasks: Sequence[Task], grounds: dict[str, list[Landscape]], arguments: Any) -> dict[Task, Replay]:
    """Return the replay of each task; the same whatever the number of jobs."""
    options = (grounds, arguments.trials, arguments.ahead)
    if arguments.jobs <= 1:
        _begin(*options)
        return {task: one_of(task) for task in tasks}
    os.environ["OMP_NUM_THREADS"] = "1"  # of each job: torch, which GP uses, would take all cores in each
    # Not forked: optuna and torch have threads.
    with ProcessPoolExecutor(
        arguments.jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=options
    ) as pool:
        return dict(zip(tasks, pool.map(one_of, tasks, chunksize=4), strict=True))


def _begin(grounds: dict[str, list[Landscape]], trials: int, ahead: int) -> None:
    _shared.update(grounds=grounds, trials=trials, ahead=ahead)


def one_of(task: Task) -> Replay:
    group = _shared["grounds"][task.ground]
    best, _ = best_of(group)
    return replayed(
        group, SAMPLERS[task.sampler], task.seed,
        trials=min(_shared["trials"], len(outcomes(group)) - 1), target=best / NEAR, least=SHOWN, ahead=_shared["ahead"],
    )  # fmt: skip


def facts(arguments: Any) -> str:
    import optuna

    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Optuna {optuna.__version__}, {arguments.seeds} seeds "
        f"({arguments.slow_seeds} of the slow), {arguments.ahead} configs under way, at most {arguments.trials} trials"
    )


_shared: dict[str, Any] = {}

if __name__ == "__main__":
    sys.exit(main())
