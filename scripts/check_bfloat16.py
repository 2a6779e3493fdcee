"""Hold bfloat16 problems, answered by float16's records, against float16: the same time, and bfloat16's own error contract.

    python scripts/check_bfloat16.py --db db/h200.sqlite --count 20

Takes every n-th float16 record that a kernel of tunedb won, runs its config on the float16 and on the bfloat16 problem in turns,
twice each, verified against float64 and torch in that dtype. Prints a table and, last, one JSON object; the exit status
is 1 where a bfloat16 result was refused or the times differ by more than 3 % in the median.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from tunedb.describe import describe, table
from tunedb.measure.bench import Bench
from tunedb.measure.versions import environment
from tunedb.store.read import Database

TURNS = 2
WITHIN = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    given = parser.parse_args()
    records = [
        record
        for record in Database(given.db).records()
        if record.problem.dtype == "float16" and record.kernel != "aten" and record.time_us < 2000
    ]
    step = max(1, len(records) // given.count)
    rows, ratios, refused = [], [], 0
    for record in records[::step][: given.count]:
        times: list[list[float]] = [[], []]
        status = "ok"
        for turn in range(TURNS):
            for mine, dtype in list(zip(times, ("float16", "bfloat16"), strict=True))[
                :: 1 if turn % 2 else -1
            ]:
                bench = Bench(record.problem._replace(dtype=dtype), 0)
                measured = bench.final([(record.kernel, record.config)])[1]
                if measured.status != "ok":
                    status = f"{dtype} {measured.status}: {measured.detail}"
                else:
                    mine.append(measured.time_us or 0.0)
                bench.close()
                del bench
        if status != "ok":
            refused += 1
            rows.append((describe(record.problem), record.kernel, "", "", status))
            continue
        half, brain = (statistics.median(mine) for mine in times)
        ratios.append(brain / half)
        rows.append(
            (describe(record.problem), record.kernel, f"{half:.2f}", f"{brain:.2f}", f"{brain / half:.3f}")
        )
    print(table(("problem", "kernel", "float16 us", "bfloat16 us", "ratio"), rows))
    median = statistics.median(ratios) if ratios else None
    off = sum(abs(ratio - 1) > WITHIN for ratio in ratios)
    print(json.dumps({"records": len(rows), "refused": refused, "median": median, "beyond 3 %": off, "lowest": min(ratios, default=None), "highest": max(ratios, default=None), **environment()}))  # fmt: skip
    return int(refused > 0 or median is None or abs(median - 1) > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
