"""Hold two sweeps of the same problems against each other: is the winner the same or a tie, and the time the same.

    python scripts/compare_sweeps.py out/first.sqlite out/second.sqlite

Two winners are a tie where one of the two sweeps has both among the configs that it cannot tell from its best. Prints a table
and, last, one JSON object; times are compared as |second / first - 1|. Status 1: a winner differs that is no tie, or the times
differ by more than 2 % in the median or 5 % at worst.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tunedb.describe import describe, table
from tunedb.record import Choice, Record, tied
from tunedb.store.read import Database

MEDIAN, WORST = 0.02, 0.05  # by so much may the times of two sweeps differ


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    given = parser.parse_args(argv)
    first, second = Database(given.first), Database(given.second)
    others = {(record.problem, record.device): record for record in second.records()}
    rows, kinds, changes = [], Counter[str](), []
    for record in first.records():
        other = others.get((record.problem, record.device))
        if other is None:
            continue
        kind, change = compared(first, record, second, other), other.time_us / record.time_us - 1
        kinds[kind] += 1
        changes.append(abs(change))
        rows.append(
            (describe(record.problem), f"{record.kernel} {record.time_us:.2f}", f"{other.kernel} {other.time_us:.2f}", f"{change:+.1%}", kind)
        )  # fmt: skip
    if not rows:
        sys.exit(f"{given.first} and {given.second} have no problem in common: sweep the same layers twice.")
    print(table(("problem", "first us", "second us", "change", "winner"), rows))
    median, worst = statistics.median(changes), max(changes)
    print(json.dumps({"problems": len(rows), **kinds, "median": round(median, 4), "worst": round(worst, 4)}))
    return int(bool(kinds["other"]) or median > MEDIAN or worst > WORST)


def compared(first: Database, record: Record, second: Database, other: Record) -> str:
    """Return how two winners stand to each other: same, tie or other."""
    winners = {Choice(record.kernel, record.config), Choice(other.kernel, other.config)}
    if len(winners) == 1:
        return "same"
    for database, mine in ((first, record), (second, other)):
        ties = {tried.choice for tried in tied(database.top(mine.problem, mine.device))}
        if winners <= ties:
            return "tie"
    return "other"


if __name__ == "__main__":
    sys.exit(main())
