"""Hold predictions against what was measured, each with what it is asked about left out of what it knows.

    python scripts/check_predicted.py --road out/road.json

Writes benchmarks/predicted/predicted.json and README.md. Needs LightGBM, scikit-learn and numpy. Tables:

    h100_from_h200         a GPU that nobody owns: the H200's data alone pick configs for the H100, among what both have timed; of the H200
                           only what it measured knowing of no H100, whose results its other searches began with
    h100_drawn             those of its problems that the H100 swept after every rule of a pick had been chosen, drawn at random
    h100_never_timed       the same trees on problems that the H200 has not: they pick among what was tried on the H100
    sm89_from_sm90         Hopper's own code alone picks among what was tried as sm_89 code on the H100: 30 to 40 trials a problem
    sm89_by_sizes          the same as if no instructions were counted
    sm89_on_h200           on the H200, 30 trials a problem, of which no instructions were counted
    sm89_candidates        and all problems there: of most the five candidates of a predicted file for the 4090, of 71 ten trials
    torch_on_l40s, _l4     published times of torch, each layer left out of the fit, from this project's H200; what ends with _of_one_torch is
                           from two H100s that others timed with the torch of the Ada cards, without cudnn.benchmark as there
    road                   files predicted for the H100 from the H200's data alone, after `tunedb confirm` on an H100: --road gives the rows of
                           scripts/follow_road.py, kept in predicted.json where it is left out

`of_swept` is the time of the best config that was measured over the pick's (geometric mean), `lowest` the least of them, `time_error` and
`torch_time_error` medians of |expected / measured - 1|, `below_0_97` the share of answers slower than that of torch's speed.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from instructions.lines import Codes, read_codes
from predictor.compared import LEAST, figures
from predictor.held_out import generation, known_elsewhere, never_timed, torch_on_ada
from predictor.predicted_page import page
from predictor.times import Published, TimeModel, Trials
from trials.table import Row, read

from tunedb.device import by_slug

ROOT = Path(__file__).resolve().parents[1]
TRIALS, OUT = ROOT / "benchmarks" / "trials", ROOT / "benchmarks" / "predicted"
INSTRUCTIONS = ROOT / "benchmarks" / "instructions.jsonl.gz"
DEEP = 20  # configs of a problem that was searched
DEVICES = ("h100", "h200", "h100-sm89", "h200-sm89")
# Where the H200's trials come from that no H100's results have led to: its first file, and sweeps of a tunedb that knew no H100.
ALONE = ("h200.sqlite", "h200-alone-")
DRAWN = "suites30."  # the source of layers that the H100 swept when every rule of a pick had been chosen
EMPTY = dict.fromkeys(
    ("of_swept", "lowest", "rank_correlation", "time_error", "torch_time_error", "below_0_97")
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--road", type=Path, help="what scripts/follow_road.py wrote")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(argv)
    kept = given.out / "predicted.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    rows = [row for slug in DEVICES for row in read(TRIALS / f"{slug}.csv.gz")]
    found = tables(rows, read_codes(INSTRUCTIONS), Published.read(TRIALS / "published.json"))
    road = (
        json.loads(given.road.read_text())
        if given.road
        else {name: known[name] for name in known if name.startswith("road")}
    )
    given.out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found | road, indent=1) + "\n")
    (given.out / "README.md").write_text(page(found | road))
    print(json.dumps(found | road))
    return 0


def tables(rows: Sequence[Row], codes: Codes, published: Published) -> dict[str, dict[str, Any]]:
    """Return every table but the road's."""
    trials = Trials(rows, codes)
    newer = TimeModel(trials, np.array([by_slug(one).arch is None for one in trials.slugs]))
    by_newer, by_sizes = newer.expected(trials), newer.expected(trials, by_sizes=True)
    unaware = Trials([row for row in rows if row.device != "h200" or row.source.startswith(ALONE)], codes)
    by_h200 = TimeModel(unaware, unaware.slugs == "h200").expected(unaware)
    picks = {
        "h100_from_h200": known_elsewhere(unaware, by_h200, "h200", "h100"),
        "h100_drawn": known_elsewhere(
            unaware, by_h200, "h200", "h100", lambda row: row.source.startswith(DRAWN)
        ),
        "h100_never_timed": never_timed(unaware, by_h200, "h200", "h100"),
        "sm89_from_sm90": generation(trials, by_newer, "h100-sm89", LEAST),
        "sm89_by_sizes": generation(trials, by_sizes, "h100-sm89", LEAST),
        "sm89_on_h200": generation(trials, by_newer, "h200-sm89", DEEP),
        "sm89_candidates": generation(trials, by_newer, "h200-sm89"),
    }
    found = {name: figures(list(some)) for name, some in picks.items()}
    for name, known in (("", published), ("_of_one_torch", published.of_one_torch())):
        for card, errors in torch_on_ada(known).items():
            off = [abs(2**error - 1) for error in errors]
            found[f"torch_on_{card.lower()}{name}"] = {
                "problems": len(errors), **EMPTY, "torch_time_error": round(statistics.median(off), 3), "spread": round(float(np.std(errors)), 2)
            }  # fmt: skip
    return found


if __name__ == "__main__":
    raise SystemExit(main())
