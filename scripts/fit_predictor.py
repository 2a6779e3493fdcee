"""Fit what tunedb expects of configs on problems that nobody has swept, and write it as plain arrays.

    python scripts/fit_predictor.py benchmarks/trials/h100.csv.gz benchmarks/trials/h200.csv.gz --out out/predictor.json.gz
    python scripts/fit_predictor.py benchmarks/trials/*.csv.gz --leave-out hifigan --out out/unseen/hifigan.json.gz

Two forests: torch's time on a problem, and a config's, each as log2 over the hardware floor and a launch. Needs LightGBM and numpy, in an environment of their own;
what is written is read by tunedb/dispatch/unseen/trees.py with the standard library. --leave-out fits without the layers of a model,
to see on a GPU what tunedb answers of a model that nobody has swept (scripts/bench_models.py --unseen). The last line of stdout is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from predictor.fitting import Data, facts_of, fitted, launchable, write
from trials.models import of_networks
from trials.table import read

from tunedb.dispatch.unseen.choose import COLUMNS
from tunedb.dispatch.unseen.trees import read_predictor


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[], metavar="MODEL", help="and what is the same network, with its layers at every size; may be repeated")  # fmt: skip
    given = parser.parse_args(argv)
    every = launchable(row for path in given.tables for row in read(path))
    left_out = of_networks(every, given.leave_out)
    rows = [row for row in every if row.problem not in left_out]
    data = Data(rows)
    devices = sorted({row.device for row in rows})
    facts = facts_of(rows, data)
    size = write(given.out, devices, fitted(data, np.ones(len(data.keys), bool)), facts)
    read_predictor(given.out, COLUMNS)  # what is written can be read
    print(json.dumps({"devices": devices, **facts, "bytes": size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
