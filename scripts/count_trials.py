"""How good a sweep's answers are after its first trials, held against all of them.

    python scripts/count_trials.py out/zoo.history.log --least 40

For every search of at least so many trials: what the best of the first 1, 2, 4, ... gives, torch's own kernel among them, as a share
of what the best of all gives (geometric mean, lowest), and after how many trials a search had 95 and 98 % (median, 90th percentile).
Trials are taken in the order in which they ended, by the times of the search, so noise counts for the whole. A search of few trials
begins as one of many does: with hints and defaults. --json also writes the figures. The last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trials.histories import opened_copy

from tunedb.describe import describe, table
from tunedb.problem import Problem, checked

FIRST = (1, 2, 4, 8, 12, 16, 20, 30, 40)
SHARES = (0.95, 0.98)
LOWEST = 5  # problems that are named


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("history", type=Path, nargs="+", help="Optuna journals of sweeps")
    parser.add_argument("--least", type=int, default=40, help="leave shorter searches out (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args(argv)
    found = [one for path in given.history for one in curves(path, given.least)]
    if not found:
        sys.exit(f"a search must have at least {given.least} trials, but none has: give a smaller --least.")
    figures = counted([curve for _, curve in found])
    rows = [(str(first), f"{one['share']:.3f}", f"{one['lowest']:.3f}") for first, one in figures["after"].items()]  # fmt: skip
    print(table(("trials", "of all trials' answer", "lowest"), rows))
    for problem, curve in sorted(found, key=lambda one: _after(one[1], 8))[:LOWEST]:
        print(f"{_after(curve, 8):.3f} after 8 trials: {describe(problem)}")
    if given.json:
        given.json.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(json.dumps(figures))
    return 0


def curves(path: Path, least: int) -> Iterator[tuple[Problem, list[float]]]:
    """Yield each search's best time after every trial, the answer's own: torch's where nothing is faster."""
    with opened_copy(path) as history:
        for _, facts, past in history.every():
            torch_us = ((facts.get("result") or {}).get("record") or {}).get("aten_us")
            tries = past.tried()
            if torch_us is None or len(tries) < least:
                continue
            best, curve = torch_us, []
            for tried in tries:
                us = tried.measurement.time_us if tried.measurement.status == "ok" else None
                best = best if us is None else min(best, us)
                curve.append(best)
            yield checked(Problem(**facts["problem"])), curve


def counted(found: Sequence[Sequence[float]]) -> dict[str, object]:
    """Return what the first trials give, and how many it takes."""
    after = {
        first: {"share": round(statistics.geometric_mean(shares), 4), "lowest": round(min(shares), 4)}
        for first in FIRST
        if (shares := [_after(curve, first) for curve in found])
    }
    needed = {
        share: sorted(next(n for n, us in enumerate(curve, 1) if curve[-1] >= share * us) for curve in found)
        for share in SHARES
    }
    reached = {
        f"{share:.0%}": {"median": statistics.median(counts), "of_nine_in_ten": counts[(9 * len(counts) - 1) // 10]}
        for share, counts in needed.items()
    }  # fmt: skip
    return {"problems": len(found), "after": after, "trials_to": reached}


def _after(curve: Sequence[float], first: int) -> float:
    return curve[-1] / curve[min(first, len(curve)) - 1]


if __name__ == "__main__":
    raise SystemExit(main())
