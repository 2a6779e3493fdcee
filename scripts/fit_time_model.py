"""Fit the time model that comes with tunedb to kept trials and to published times of torch.

    python scripts/fit_time_model.py benchmarks/trials/h100.csv.gz benchmarks/trials/h200.csv.gz benchmarks/trials/h100-sm89.csv.gz \
        benchmarks/trials/h200-sm89.csv.gz --published benchmarks/trials/published.json --instructions benchmarks/instructions.jsonl.gz --out db/time_model.json.gz

The order of the tables decides which trials each tree is drawn from. Needs LightGBM, scikit-learn and numpy. The last line of stdout is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from instructions.lines import read_codes
from predictor.fitting import write
from predictor.times import Published, Trials, fitted
from trials.table import read

from tunedb.dispatch.unseen.trees import read_predictor
from tunedb.tune.predict.time_model import COLUMNS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument(
        "--published", type=Path, required=True, help="torch's times on cards that are not here"
    )
    parser.add_argument("--instructions", type=Path, required=True, help="what scripts/count_instructions.py wrote, compressed by gzip")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    trials = Trials([row for path in given.tables for row in read(path)], read_codes(given.instructions))
    forests, facts = fitted(trials, Published.read(given.published))
    devices = sorted(set(trials.slugs))
    size = write(given.out, devices, forests, facts)
    read_predictor(given.out, COLUMNS)  # what is written can be read
    print(json.dumps({"devices": devices, **facts, "bytes": size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
