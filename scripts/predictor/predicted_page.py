"""The page of benchmarks/predicted: tables of predictions beside what was measured, and shares of the floor."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from tunedb.device import by_slug, floor_us
from tunedb.device.sustained import sustained
from tunedb.store.read import Database

__all__ = ["page", "shares"]

LONG_US = 20.0  # a shorter floor says more of launches than of kernels
PROXIES = ("h100-sm89", "h200-sm89")
DB = Path(__file__).resolve().parents[2] / "db"
NAMES = {
    "h100_from_h200": "the H100 from the H200's data alone, problems that both have",
    "h100_drawn": "those of them that were drawn at random and swept on the H100 when all rules had been chosen",
    "h100_never_timed": "the H100 from the H200's data alone, problems that the H200 never timed",
    "sm89_from_sm90": "sm_89 code on the H100, from trials of sm_90 code alone",
    "sm89_by_sizes": "the same, if instructions were not counted",
    "sm89_on_h200": "sm_89 code on the H200, from trials of sm_90 code alone; no instructions were counted",
    "sm89_candidates": "the same, all problems that were timed: of most the five candidates that a file for the 4090 held",
    "torch_on_l40s": "torch on an L40S, published, from the H200's times by a later torch",
    "torch_on_l4": "torch on an L4, published, likewise",
    "torch_on_l40s_of_one_torch": "torch on an L40S, from two published H100s that ran the same torch",
    "torch_on_l4_of_one_torch": "torch on an L4, likewise",
    "road": "kernelbench on an H100: a predicted file, confirmed for 5 minutes",
    "road_models": "24 layers of `models` on an H100: a predicted file, confirmed",
}
COLUMNS = (
    "problems",
    "of_swept",
    "lowest",
    "rank_correlation",
    "time_error",
    "torch_time_error",
    "below_0_97",
)
HEADS = (
    "problems",
    "of the swept best",
    "lowest",
    "rank correlation",
    "time off by",
    "torch's time off by",
    "answers below 0.97 of torch",
)


def page(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page, Markdown."""
    lines = [
        "# Predictions, held against measurements", "",
        "Nothing that is asked about was known to what answers. `python scripts/check_predicted.py` makes this page and `predicted.json`; its first",
        "lines say what the columns are. Trials: benchmarks/trials (H100, H200; Triton 3.6.0, torch 2.11.0, cuDNN 9.19.0). No time here was measured on an Ada card.",
        "Of the last two files' problems the candidate was chosen anew from what they hold, by the 80th percentile: that rule came of this trial, and as made the files would have answered at 0.965 and 0.949.",
        "How proxied times are moved, and when a guess may win over them, was chosen by the first table itself: by the rules before, among what both GPUs had timed, it gave 0.958 (lowest 0.493).",
        "",
        "|  | " + " | ".join(HEADS) + " |", "| --- " * (1 + len(HEADS)) + "|",
    ]  # fmt: skip
    for name, title in NAMES.items():
        if name in tables:
            lines.append(_line(title, tables[name]))
            if "answers_of_swept" in tables[name]:
                before = {
                    "of_swept": tables[name]["answers_of_swept"],
                    "lowest": tables[name]["answers_lowest"],
                }
                lines.append(_line("the same before it is confirmed, as calls are answered", before))
    lines += [
        "", "## Shares of the floor", "",
        "Floor over time of the fastest of tunedb's kernels (geometric means, both layouts), by what each device sustains: expected of the RTX 4090 beside sm_89",
        f"code that was measured, of each problem on an H100 or an H200 whose floor there is {LONG_US:.0f} us or more. Launches are a larger part of Hopper's times: the 4090 has 0.32 of the H100's",
        "bandwidth and 0.25 of its matrix rate as sm_89 code.", "",
        "| operation | dtype | problems | RTX 4090, expected | sm_89 code on Hopper, measured |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for (op, dtype), (count, predicted, measured) in sorted(shares().items()):
        lines.append(f"| {op} | {dtype} | {count} | {100 * predicted:.0f} % | {100 * measured:.0f} % |")
    return "\n".join(lines) + "\n"


def _line(title: str, table: Mapping[str, Any]) -> str:
    return f"| {title} | " + " | ".join(_cell(column, table.get(column)) for column in COLUMNS) + " |"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    percent = column.endswith("error") or column == "below_0_97"
    return f"{100 * value:.1f} %" if percent else f"{value:g}"


def shares() -> dict[tuple[str, str], tuple[int, float, float]]:
    """Return layers, predicted share on the 4090 and measured share as sm_89 code on an H100 or H200, by operation and dtype."""
    ada = {problem: floor / us for problem, floor, us in _times(DB / "4090.sqlite", "4090")}
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for slug in PROXIES:
        for problem, floor, us in _times(DB / "proxies" / f"{slug}.sqlite", slug):
            if problem in ada and floor >= LONG_US:
                groups[problem.op, problem.dtype].append((ada[problem], floor / us))
    return {
        key: (len(pairs), *map(geometric_mean, zip(*pairs, strict=True))) for key, pairs in groups.items()
    }  # type: ignore[misc]


def _times(path: Path, slug: str) -> Iterator[tuple[Any, float, float]]:
    """Yield each problem with its floor and the time of the fastest of tunedb's kernels, even where torch is faster; microseconds."""
    device = sustained(by_slug(slug))
    file = Database(path, immutable=True)
    for record in file.records():
        own = [one.measurement.time_us for one in file.top(record.problem, slug) if one.kernel != "aten"]
        times = [record.time_us] if record.kernel != "aten" else [us for us in own if us]
        if times:
            yield record.problem, floor_us(record.problem, device), min(times)
    file.close()
