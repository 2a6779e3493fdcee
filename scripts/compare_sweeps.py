"""Hold two sweeps of the same problems against each other: is the winner the same or a tie, and the time the same.

    python scripts/compare_sweeps.py out/first.sqlite out/second.sqlite

Two winners are a tie where one of the two sweeps has both among the configs that it cannot tell from its best. A winner is
"unmet" where the other sweep did not have it in its final: then the searches differ, not the clocks. How far clocks agree is what
all configs say that were in both finals (torch among them): `configs`. With --together the winners that differ are timed anew, in
turn, on the GPU at hand: a tie is then where the medians of one run differ by no more than their spread, as in a final.
Prints a table and, last, one JSON object; times are compared as |second / first - 1|. Status 1: a winner differs that is no tie, or
the winners' times differ by more than 2 % in the median or 5 % at worst.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.sources import call_of

from tunedb.describe import describe, table
from tunedb.record import Choice, Measurement, Record, Tried, tied
from tunedb.store.read import Database
from tunedb.tune.choose_winner import ATEN

ROUNDS = 60  # of winners that are timed together
MEDIAN, WORST = 0.02, 0.05  # by so much may the times of two sweeps differ


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument(
        "--together", action="store_true", help="time winners that differ, in turn, on this machine's GPU"
    )
    given = parser.parse_args(argv)
    first, second = Database(given.first), Database(given.second)
    others = {(record.problem, record.device): record for record in second.records()}
    rows, kinds, changes, of_configs = [], Counter[str](), [], []
    for record in first.records():
        other = others.get((record.problem, record.device))
        if other is None:
            continue
        kind, change = compared(first, record, second, other), other.time_us / record.time_us - 1
        if given.together and kind in {"unmet", "other"}:
            kind, change = in_turn(record, other)
        kinds[kind] += 1
        changes.append(abs(change))
        of_configs += in_both(first, record, second, other)
        rows.append(
            (describe(record.problem), f"{record.kernel} {record.time_us:.2f}", f"{other.kernel} {other.time_us:.2f}", f"{change:+.1%}", kind)
        )  # fmt: skip
    if not rows:
        sys.exit(f"{given.first} and {given.second} have no problem in common: sweep the same layers twice.")
    print(table(("problem", "first us", "second us", "change", "winner"), rows))
    median, worst = statistics.median(changes), max(changes)
    print(json.dumps({"problems": len(rows), **kinds, **spread(changes), "configs": {"timed": len(of_configs), **spread(of_configs)}}))  # fmt: skip
    return int(any(kinds[kind] for kind in ("other", "unmet", "apart")) or median > MEDIAN or worst > WORST)


def compared(first: Database, record: Record, second: Database, other: Record) -> str:
    """Return how two winners stand to each other: same, tie, unmet or other."""
    winners = {Choice(record.kernel, record.config), Choice(other.kernel, other.config)}
    if len(winners) == 1:
        return "same"
    for database, mine in ((first, record), (second, other)):
        ties = {tried.choice for tried in tied(database.top(mine.problem, mine.device))}
        if winners <= ties:
            return "tie"
    finals = final_times(first, record), final_times(second, other)
    return "other" if all(winners <= set(final) for final in finals) else "unmet"


def in_turn(record: Record, other: Record) -> tuple[str, float]:
    """Time both winners in one run; return whether that tells them apart, and second / first - 1."""
    from tunedb.device import current
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import GpuClock, spread

    clock = GpuClock(0, current(0))
    yardstick = Yardstick(record.problem, clock)
    calls = [
        yardstick.torch_call if one.kernel == ATEN.kernel else call_of(yardstick, one.kernel, one.config)
        for one in (record, other)
    ]
    with yardstick.settings():
        runs = [spread(times) for times in clock.times_us(calls, ROUNDS)]
    tries = [
        Tried(one.kernel, one.config, Measurement("ok", *run))
        for one, run in zip((record, other), runs, strict=True)
    ]
    return "tie" if len(tied(tries)) == len(tries) else "apart", runs[1][0] / runs[0][0] - 1


def final_times(database: Database, record: Record) -> dict[Choice, float]:
    """Return what the final of a record timed, torch's own kernel too."""
    found = {tried.choice: tried.measurement.time_us for tried in database.top(record.problem, record.device)}
    found |= {ATEN: record.aten_us, Choice(record.kernel, record.config): record.time_us}
    return {choice: time for choice, time in found.items() if time is not None}


def in_both(first: Database, record: Record, second: Database, other: Record) -> list[float]:
    """Return |second / first - 1| of each config that both finals timed."""
    one, two = final_times(first, record), final_times(second, other)
    return [abs(two[choice] / one[choice] - 1) for choice in one if choice in two]


def spread(changes: Sequence[float]) -> dict[str, float]:
    return (
        {"median": round(statistics.median(changes), 4), "worst": round(max(changes), 4)} if changes else {}
    )


if __name__ == "__main__":
    sys.exit(main())
