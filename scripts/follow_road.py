"""Say what a confirmation of a predicted file came to, beside a sweep of the same device.

    python scripts/follow_road.py --predicted h100.sqlite --confirmed confirmed.sqlite --swept kb.sqlite --name road --out out/road.json

Times of the confirmed and of the swept answers are both in parts of torch's in their own run, because the runs may be on different machines.
The last line of stdout is one JSON object, which --out gets too, beside the other names that it has.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunedb.device import by_slug
from tunedb.dispatch.likely import LEAST, chance
from tunedb.store.read import Database


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("predicted", "confirmed", "swept"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a database")
    parser.add_argument("--name", default="road", help="of the table (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    found = {given.name: figures(Database(given.predicted), Database(given.confirmed), Database(given.swept))}
    others = json.loads(given.out.read_text()) if given.out.exists() else {}
    given.out.write_text(json.dumps(others | found, indent=1) + "\n")
    print(json.dumps(found))
    return 0


def figures(predicted: Database, confirmed: Database, swept: Database) -> dict[str, Any]:
    """Return the table's figures: of what was confirmed, of the picks before that, and of what a call would have been answered with."""
    of_swept: list[float] = []
    of_picks: list[float] = []
    of_answers: list[float] = []
    errors: list[float] = []
    torch_errors: list[float] = []
    trials: list[float] = []
    answers = slower = 0
    for pick in predicted.records():
        now, best = confirmed.record(pick.problem, pick.device), swept.record(pick.problem, pick.device)
        if best is None or now is None or not best.aten_us or not now.aten_us:
            continue
        known = best.time_us / best.aten_us
        of_swept.append(known * now.aten_us / now.time_us)
        tried = confirmed.top(pick.problem, pick.device)
        trials.append(len(tried) / best.trials)
        again = next(
            (one.measurement.time_us for one in tried if one.choice == (pick.kernel, pick.config)), None
        )
        if pick.aten_us:
            torch_errors.append(abs(pick.aten_us / now.aten_us - 1))
        if again is None:
            continue  # refused: nothing says what it takes
        of_picks.append(known * now.aten_us / again)
        errors.append(abs(pick.time_us / again - 1))
        given = (chance(pick, by_slug(pick.device)) or 0) >= LEAST
        of_answers.append(known * now.aten_us / (again if given else now.aten_us))
        answers += given
        slower += given and now.aten_us / again < 0.97
    return {
        "problems": len(of_swept), "of_swept": mean(of_swept), "lowest": round(min(of_swept), 3), "rank_correlation": None,
        "time_error": median(errors), "torch_time_error": median(torch_errors), "below_0_97": round(slower / answers, 3) if answers else None,
        "answers": answers, "picks_of_swept": mean(of_picks), "picks_lowest": round(min(of_picks), 3),
        "answers_of_swept": mean(of_answers), "answers_lowest": round(min(of_answers), 3), "candidates_of_trials": round(statistics.fmean(trials), 3),
    }  # fmt: skip


def mean(values: Sequence[float]) -> float:
    return round(statistics.geometric_mean(values), 3)


def median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None


if __name__ == "__main__":
    raise SystemExit(main())
