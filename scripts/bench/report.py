"""What bench_kernels found, as a page, as the table in docs/benchmarks.md and as a summary."""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.results import Results, Row, Spread

__all__ = [
    "groups",
    "mean",
    "page",
    "readme_block",
    "rewrite",
    "summary",
    "table",
]

COLUMNS = {
    "cudnn": "cuDNN",
    "heuristic": "cuDNN, no search",
    "triton": "Triton",
    "sm89": "as sm_89",
    "dispatched": "dispatched",
    "compile": "torch.compile",
}
# The same layer at two lengths is one problem of KernelBench: shown, but left out of the means.
NOT_COUNTED = {"kb76s"}
BEGIN, END = "<!-- kernels:begin -->", "<!-- kernels:end -->"


def groups(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each dtype and layout, in the order in which they come."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.dtype, row.layout), []).append(row)
    return found


def mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean."""
    return round(math.exp(sum(map(math.log, values)) / len(values)), 3) if values else None


def summary(results: Results) -> dict[str, Any]:
    """Return counts and geometric means of each dtype and layout, over the problems that have both times."""
    return {
        "device": results.device,
        "suite": results.suite,
        "rows": len(results.rows),
        "groups": [
            {"dtype": dtype, "layout": layout, **_summed(rows)}
            for (dtype, layout), rows in groups(results.rows).items()
        ],
        "failures": [[*row.key, failure] for row in results.rows for failure in row.failures],
    }


def _summed(rows: Sequence[Row]) -> dict[str, Any]:
    counted = [row for row in rows if row.id not in NOT_COUNTED]
    transposed = [row for row in counted if "transpose" in row.op]
    found: dict[str, Any] = {"problems": len(counted)}
    for column in COLUMNS:
        shares = _ratios(counted, "floor", column)
        if not shares:
            continue
        speedups = _ratios(counted, "cudnn", column)
        alone = _ratios(transposed, "cudnn", column)
        lowest = min(speedups, key=lambda pair: pair[1], default=None)
        found[column] = {
            "times_cudnn": mean([ratio for _, ratio in speedups]),
            "of": len(speedups),
            "share_of_floor": mean([ratio for _, ratio in shares]),
            "wins": sum(ratio > 1 for _, ratio in speedups),
            "lowest": None if lowest is None else [lowest[0], round(lowest[1], 3)],
            "transposed_times_cudnn": mean([ratio for _, ratio in alone]),
            "transposed_of": len(alone),
        }
    return found


def _ratios(rows: Iterable[Row], over: str, column: str) -> list[tuple[str, float]]:
    """Return one column's time over another's, for the problems that have both."""
    pairs = [(row.id, row.time(over), row.time(column)) for row in rows]
    return [(name, upper / lower) for name, upper, lower in pairs if upper and lower]


def summary_table(results: Results) -> str:
    """Return a line for each dtype and layout; every mean says over how many problems it is."""
    heads = [
        *("", "problems", "Triton over cuDNN", "faster than cuDNN", "of the floor (cuDNN)"),
        *("as sm_89 code, over cuDNN", "dispatched over cuDNN", "its lowest", "transposed: Triton", "as sm_89 code"),
    ]  # fmt: skip
    found = summary(results)["groups"]
    if any("compile" in group for group in found):
        heads.append("torch.compile over cuDNN")
    lines = []
    for group in found:
        triton, sm89, dispatched, compiled = (
            group.get(column, {}) for column in ("triton", "sm89", "dispatched", "compile")
        )
        lowest = dispatched.get("lowest")
        floor = f"{_percent(triton.get('share_of_floor'))} ({_percent(group.get('cudnn', {}).get('share_of_floor'))})"
        cells = [
            f"{group['dtype']} {group['layout']}", str(group["problems"]), _times(triton),
            f"{triton['wins']} of {triton['of']}" if triton else "", floor if triton else "", _times(sm89),
            _times(dispatched), f"{lowest[1]:.2f} ({lowest[0]})" if lowest else "",
            _times(triton, "transposed_"), _times(sm89, "transposed_"), _times(compiled),
        ]  # fmt: skip
        lines.append(cells[: len(heads)])
    return table(heads, lines)


def page(results: Results, drawing: str | None) -> str:
    """Return the whole as Markdown; `drawing` is the name of the plot beside it."""
    parts = [
        f"# {results.suite}: tunedb's kernels, cuDNN and the hardware floor",
        f"{results.heading}.",
        f"Command: `{results.command}`",
        _EXPLAINED,
        summary_table(results),
        *([] if drawing is None else [f"![Times over the floor of every problem]({drawing})"]),
    ]
    for (dtype, layout), rows in groups(results.rows).items():
        parts += [f"## {dtype} {layout}", _problem_table(rows)]
    for title, said in (
        ("Failures", "failures"),
        ("Why a column is empty, and what else is to be said", "notes"),
    ):
        lines = [f"- {' '.join(row.key)}: {text}" for row in results.rows for text in getattr(row, said)]
        if lines or said == "failures":
            parts += [f"## {title}", "\n".join(lines) or "None."]
    return "\n\n".join(parts) + "\n"


_EXPLAINED = """GPU time, medians of repetitions in turn, each with a cold L2; means are geometric, in parentheses over how many
problems, those that have both times. `cuDNN` is `torch.nn.functional` with `cudnn.benchmark=True`, TF32 allowed, in the
same layout. `Triton` is the fastest of tunedb's own kernels, torch's left out; `as sm_89` the fastest of them compiled as
code for sm_89 (no wgmma, no TMA) within its 99 KB of shared memory a block; `dispatched` what tunedb answers, which may
be torch; where no sweep had timed tunedb's own kernels, one of them that was dispatched stands for the fastest, marked *.
The floor is the larger of bytes over the copy bandwidth and operations over the rate of the matrix units. Every
result of a Triton kernel was held against float64 (at most 1.1 times torch's own error, the larger of those with and
without `cudnn.benchmark`) and computed twice, to the same bits."""


def _problem_table(rows: Sequence[Row]) -> str:
    """Return a line a problem: times in microseconds with their 20th and 80th percentile."""
    columns = [column for column in COLUMNS if any(row.spread(column) for row in rows)]
    heads = [
        *("problem", "op", "floor µs"),
        *(f"{COLUMNS[column]} µs" for column in columns),
        "Triton kernel",
        "dispatched to",
    ]
    heads += ["cuDNN / Triton", "of the floor"]
    lines = []
    for row in rows:
        speedup, share = (_ratios([row], over, "triton") for over in ("cudnn", "floor"))
        lines.append([
            row.id, row.op, "" if row.floor_us is None else f"{row.floor_us:.1f}",
            *(_spread(row.spread(column)) + "*" * (column == "triton" and row.stands_in) for column in columns),
            row.kernels.get("dispatched" if row.stands_in else "triton", ""), row.kernels.get("dispatched", ""),
            f"{speedup[0][1]:.2f}" if speedup else "", _percent(share[0][1]) if share else "",
        ])  # fmt: skip
    return table(heads, lines)


def readme_block(results: Results, page: str) -> str:
    """Return what stands between the marks of docs/benchmarks.md; `page` has every problem, and is not on the site."""
    return "\n".join([
        f"{results.suite}: {results.heading} (`{results.command}`); every problem in `{page}`.", "", summary_table(results),
    ])  # fmt: skip


def rewrite(readme: Path, results: Results, source: Path) -> None:
    """Put the summary between the marks of a file.

    Raises SystemExit: where it has no such marks.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{readme} must have the marks {BEGIN} and {END}, between which the table goes: add them.")
    block = readme_block(results, source.with_suffix(".md").as_posix())
    readme.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", encoding="utf-8")


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _times(found: dict[str, Any], prefix: str = "") -> str:
    value = found.get(f"{prefix}times_cudnn")
    return "" if value is None else f"{value:.2f}x ({found[f'{prefix}of']})"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _spread(one: Spread | None) -> str:
    return "" if one is None else f"{one[0]:.1f} ({one[1]:.1f} to {one[2]:.1f})"
