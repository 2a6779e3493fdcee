"""What it gives a search to begin with what the predictor expects most of: replays of recorded landscapes, with and without.

    python scripts/compare_starts.py tests/landscapes/*.json.gz --trials benchmarks/trials/h100.csv.gz benchmarks/trials/h200.csv.gz

The predictor is fitted without the landscapes' layers, in any dtype and layout. A search has 100 trials, 12 under way at a time, and
no winners of similar problems; a landscape whose kernel has got further fields since is left out, and named. Needs LightGBM and
numpy. The last line of stdout is one JSON object: for each start the best of all over the best so far (geometric mean over problems
and seeds), and how many trials it took to 98 % of the best (101: not within 100).
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from predictor.fitting import Data, fitted
from samplers.landscapes import Landscape, read, together
from samplers.replay import Sampler, replayed
from trials.table import DOUBTFUL
from trials.table import read as read_trials

from tunedb.describe import table
from tunedb.dispatch.unseen.choose import COLUMNS
from tunedb.dispatch.unseen.trees import Predictor, forest_of
from tunedb.kernel import load
from tunedb.problem import Problem
from tunedb.tune import promising
from tunedb.tune.search import Policy, Search
from tunedb.tune.space import Space

NEAR, LENGTH = 0.98, 100
AFTER = (4, 8, 20, 40, 60, 100)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("landscapes", type=Path, nargs="+", help="recorded landscapes")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="tables of trials")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each problem (default: %(default)s)")  # fmt: skip
    given = parser.parse_args(argv)
    found = [read(path) for path in given.landscapes]
    used = [one for one in found if is_of_today(one)]
    for one in (one for one in found if one not in used):
        print(f"{one.label} of {one.kernel} is left out: its configs lack fields of today's.", file=sys.stderr)  # fmt: skip
    if not used:
        sys.exit("a landscape must have all fields of its kernel's configs, but none has: record one anew.")
    with mock.patch.object(promising, "shipped_predictor") as shipped:
        shipped.return_value = fitted_without({one.problem for one in used}, given.trials)
        figures = {name: replays(together(used), name, start, given.seeds) for name, start in STARTS.items()}
    rows = [(name, *(f"{one['after'][n]:.3f}" for n in AFTER), f"{one['median']:g}", f"{one['of_nine_in_ten']:g}") for name, one in figures.items()]  # fmt: skip
    print(
        table(("first tried", *(f"after {n}" for n in AFTER), f"trials to {NEAR:.0%}", "nine in ten"), rows)
    )
    print(json.dumps({"problems": len(together(used)), "seeds": given.seeds, "starts": figures}))
    return 0


def is_of_today(landscape: Landscape) -> bool:
    return set(landscape.values) == set(load(landscape.kernel).Config._fields)  # type: ignore[attr-defined]


def fitted_without(held: set[Problem], tables: Sequence[Path]) -> Predictor:
    """Return a predictor that has never seen these layers."""
    sizes = {any_dtype(problem) for problem in held}
    rows = [
        row
        for path in tables
        for row in read_trials(path)
        if row.status != DOUBTFUL and any_dtype(row.problem) not in sizes
    ]
    data = Data(rows)
    forests = fitted(data, np.ones(len(data.keys), dtype=bool))
    devices = tuple(sorted({row.device for row in rows}))
    return Predictor(devices, {name: forest_of(trees, COLUMNS[name]) for name, trees in forests.items()}, {})


def any_dtype(problem: Problem) -> Problem:
    return problem._replace(dtype="float32", precision="tf32", layout="channels_first")


def defaults(ground: Space, trials: int, seed: int) -> Any:
    """Search as where no predictor knows the device."""
    del seed  # the ground has it
    return Search(ground, trials, policy=Policy())


def expected(ground: Space, trials: int, seed: int) -> Any:
    """Search as on a device that the predictor knows."""
    del seed
    return promising.begun(ground, trials)


STARTS = {"kernels' defaults": defaults, "what is expected most of": expected}


def replays(grounds: Mapping[str, Sequence[Landscape]], name: str, start: Any, seeds: int) -> dict[str, Any]:
    shares: dict[int, list[float]] = {n: [] for n in AFTER}
    needed = []
    for landscapes in grounds.values():
        best = min(time for one in landscapes for time in one.times.values())
        for seed in range(seeds):
            replay = replayed(landscapes, Sampler(name, start), seed, trials=LENGTH, target=best / NEAR, least=LENGTH)  # fmt: skip
            for n in AFTER:
                shares[n].append(best / replay.best[min(n, len(replay.best)) - 1])
            needed.append(replay.reached(best / NEAR) or LENGTH + 1)
    return {
        "after": {n: round(statistics.geometric_mean(one or 1e-3 for one in given), 4) for n, given in shares.items()},
        "median": statistics.median(needed), "of_nine_in_ten": sorted(needed)[(9 * len(needed) - 1) // 10],
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
