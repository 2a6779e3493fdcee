"""What a check of the dispatcher found, as a page and as a summary."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.report import mean
from bench.report import table as markdown

__all__ = ["Row", "page", "summary", "table"]


class Row(NamedTuple):
    """One problem as it was dispatched. Times are GPU microseconds; `failure` says what is not as promised."""

    name: str
    op: str
    dtype: str
    layout: str
    kernel: str
    tier: str
    tunedb_us: float | None
    aten_us: float | None
    floor_us: float | None
    error: float | None
    aten_error: float | None
    failure: str


def page(rows: Sequence[Row], found: dict[str, Any], *, where: str, said: str) -> str:
    """Return the page of a run: where and how it was made, its summary, what failed, every record."""
    own, faster = found["times_faster_where_not_torch"], found["times_faster"]
    means = "" if faster is None else f"; {faster:.2f} times torch in the geometric mean"
    means += "" if own is None else f", {own:.2f} where tunedb's kernels answer"
    failed = [f"- {row.name} {row.op} {row.dtype} {row.layout}, by {row.kernel}: {row.failure}" for row in rows if row.failure]  # fmt: skip
    return "\n".join([
        f"# Answers for the {found['device']}, dispatched and held against torch and float64", "", f"{where}.", "", f"Command: `{said}`", "",
        f"{found['exact']} of {found['records']} answers `exact`, {found['unchecked']} not reached{means}; torch in the faster of its two modes.",
        "", "## Failures", "", *(failed or ["None."]), "", "## Every answer", "", table(rows), "",
    ])  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    heads = (
        "problem",
        "op",
        "dtype",
        "layout",
        "kernel",
        "tunedb µs",
        "aten µs",
        "times faster",
        "floor µs",
        "error",
        "aten error",
        "tier",
        "",
    )
    lines = []
    for row in rows:
        faster = "" if row.tunedb_us is None or row.aten_us is None else f"{row.aten_us / row.tunedb_us:.2f}"
        lines.append([
            row.name, row.op, row.dtype, row.layout, row.kernel, _number(row.tunedb_us, ".1f"), _number(row.aten_us, ".1f"), faster,
            _number(row.floor_us, ".1f"), _number(row.error, ".2e"), _number(row.aten_error, ".2e"), row.tier, row.failure,
        ])  # fmt: skip
    return markdown(heads, lines)


def summary(rows: Sequence[Row], *, device: str, records: int) -> dict[str, Any]:
    """Return the counts and means of a run; ratios are torch's time over tunedb's."""
    ratios = {row: row.aten_us / row.tunedb_us for row in rows if row.aten_us and row.tunedb_us}
    worst = min(ratios, key=lambda row: ratios[row], default=None)
    own = [ratio for row, ratio in ratios.items() if row.kernel != "aten"]
    return {
        "device": device,
        "records": records,
        "checked": len(rows),
        "unchecked": records - len(rows),
        "exact": sum(row.tier == "exact" for row in rows),
        "by_torch": sum(row.kernel == "aten" for row in rows),
        "times_faster": mean(list(ratios.values())),
        "times_faster_where_not_torch": mean(own),
        "times_floor": mean(
            [row.tunedb_us / row.floor_us for row in ratios if row.tunedb_us and row.floor_us]
        ),
        "worst": None if worst is None else [worst.name, worst.dtype, worst.layout, round(ratios[worst], 3)],
        "failures": [[row.name, row.dtype, row.layout, row.failure] for row in rows if row.failure],
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
