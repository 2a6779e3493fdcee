"""Ask what trees learn of code that they have not seen when they see its instructions: older code from Hopper's own.

    python scripts/check_instructions.py benchmarks/instructions.jsonl.gz --tables benchmarks/trials/h100.csv.gz benchmarks/trials/h100-sm89.csv.gz

The lines are those of scripts/count_instructions.py. Trees as the time model's are fitted to the trials of the GPUs' own code, with and without what the
instructions say, and pick configs of the older code, as in scripts/check_predicted.py. Needs LightGBM, scikit-learn and numpy. The last line
of stdout is one JSON object: by what the trees see, a seed each, the share of the best, the lowest, the rank correlation and how far times are off.
"""

import argparse
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from instructions.lines import key_of_line, key_of_row
from predictor.compared import LEAST, Pick, figures, of_keys, rank_correlation
from predictor.times import CHOSEN, SETTINGS, TREES, Trials, spill_cost
from trials.table import Row, read

from tunedb.device import by_slug, floor_us
from tunedb.device.sustained import sustained

NAMES = ("of_swept", "lowest", "rank_correlation", "time_error")
SHARES = (("integer",), ("lds", "sts"), ("mma",), ("fma",), ("ldg", "async"))  # of the loop's instructions
WAYS = {"sizes": 0, "and times": 3, "and shares": 3 + len(SHARES) + 3}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", type=Path, help="what count_instructions.py wrote, compressed by gzip")
    parser.add_argument("--tables", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(argv)
    lines = map(json.loads, gzip.decompress(given.lines.read_bytes()).decode().splitlines())
    known = {key_of_line(found): found for found in lines}
    rows = [row for path in given.tables for row in read(path) if key_of_row(row) in known]
    trials = Trials(rows)
    told = np.array([features(row, known[key_of_row(row)]) for row in trials.rows])
    found = {
        name: [tested(trials, np.hstack([trials.features, told[:, :count]]), seed) for seed in range(given.seeds)]
        for name, count in WAYS.items()
    }  # fmt: skip
    newer = sum(by_slug(one).arch is None for one in trials.slugs)
    print(json.dumps({"newer": int(newer), "older": len(trials.rows) - int(newer), **found}))
    return 0


def features(row: Row, found: Mapping[str, Any]) -> list[float]:
    """Return what the instructions say: times, then shares, then sizes. All as logarithms (base 2) or shares.

    The times, over the floor: issue slots that the problem's products need by the loop's instructions, cycles of shared memory's port likewise, and
    issue slots of all programs that run all of their code once.
    """
    facts = sustained(by_slug(row.device))
    whole, loop = found["all"], found["loop"] or found["all"]
    if 5 * loop["products"] < whole["products"]:
        loop = whole  # the products are unrolled outside of it
    total, every = instructions(loop), instructions(whole)
    clocks = facts.sm_count * facts.clock / 1e6
    each = row.problem.flops / (2 * loop["products"]) if loop["products"] else 0.0
    once = math.prod(found["grid"]) * found["warps"] * every
    floor = floor_us(row.problem, facts)
    times = (each * total / 4 / clocks, each * loop["port"] / clocks, once / 4 / clocks)
    shares = [sum(loop.get(kind, 0) for kind in kinds) / total for kinds in SHARES]
    logs = [math.log2(max(us, 1e-3) / floor) if us else 0.0 for us in times]
    return [*logs, *shares, whole.get("local", 0) / every, math.log2(every), math.log2(total)]


def instructions(counts: Mapping[str, int]) -> int:
    return sum(count for kind, count in counts.items() if kind not in ("products", "port"))


def tested(trials: Trials, seen: "np.ndarray[Any, Any]", seed: int) -> list[float | None]:
    """Return the figures of what trees pick that know the GPUs' own code alone."""
    newer = np.array([by_slug(one).arch is None for one in trials.slugs])
    data = lightgbm.Dataset(seen[newer], (trials.took - trials.base)[newer], weight=trials.weight[newer])
    trees = lightgbm.train(SETTINGS | {"seed": seed}, data, TREES)
    hoped = np.asarray(trees.predict(seen)) + trials.base + spill_cost(trials, newer) * trials.spills
    picks = []
    for places in of_keys(trials.keys).values():
        if newer[places[0]] or len(places) < LEAST:
            continue
        took, expected = trials.took[places], hoped[places]
        first = int(np.argmin(expected))
        picks.append(
            Pick(2.0 ** took[first], CHOSEN * 2.0 ** expected[first], 2.0 ** took.min(), correlation=rank_correlation(expected, took))
        )  # fmt: skip
    found = figures(picks)
    return [found[name] for name in NAMES]


if __name__ == "__main__":
    raise SystemExit(main())
