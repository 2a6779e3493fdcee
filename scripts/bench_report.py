"""Write what bench_kernels found again: its page, its plot, and the table in docs/benchmarks.md.

    python scripts/bench_report.py benchmarks/h200/kernels.json --out benchmarks/h200/kernels.md --readme docs/benchmarks.md

Needs the results of a run and no GPU. The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

from bench.plot import plot
from bench.report import page, rewrite, summary
from bench.results import Results


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the JSON file of a run")
    parser.add_argument("--out", type=Path, help="Markdown file, its plot beside it")
    parser.add_argument("--readme", type=Path, help="rewrite the summary in this file")
    arguments = parser.parse_args()
    results = Results.read(arguments.results)
    if arguments.out is not None:
        drawing = arguments.out.with_suffix(".svg")
        drawing.write_text(plot(results), encoding="utf-8")
        arguments.out.write_text(page(results, drawing.name), encoding="utf-8")
    if arguments.readme is not None:
        rewrite(arguments.readme, results, arguments.results)
    print(json.dumps(summary(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
