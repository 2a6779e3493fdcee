"""What a comparison of samplers says: a row a sampler, what each field is worth, and both as a page."""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from samplers.landscapes import Landscape
from samplers.replay import SAMPLERS, Replay

__all__ = ["Dimension", "Row", "Run", "dimensions", "page", "reached_at", "table"]

OURS = "tunedb"
WINS = 1.02  # a value within so much of a landscape's best has won there
_RESAMPLED = 1000


class Run(NamedTuple):
    """All replays on one problem."""

    range: tuple[float, float]  # microseconds: the best recorded, and the worst
    replays: dict[str, list[Replay]]


class Row(NamedTuple):
    """A sampler's figures over all problems and seeds."""

    name: str
    median: float  # trials to 98 % of the best; one that did not get there counts as the most
    ninetieth: float
    most: int
    reached: float  # part of the replays
    at: dict[int, float]  # best after so many trials, as part of the best there is: geometric mean
    against: (
        tuple[float, float, float] | None
    )  # trials over tunedb's: geometric mean, 5 and 95 % of resamples

    def figures(self) -> dict[str, Any]:
        found = {
            "trials_median": self.median,
            "trials_p90": self.ninetieth,
            "reached": round(self.reached, 3),
        }
        return found | {f"best_at_{count}": round(part, 4) for count, part in self.at.items()}


class Dimension(NamedTuple):
    """What a field is worth. Ratios are times over the best of all, geometric means over landscapes."""

    values: dict[Any, tuple[float, float, int, int]]  # ratio, worst ratio, landscapes won, landscapes with it
    fixed: tuple[Any, float, float] | None  # the value to hold it to, at what cost, and at what cost at worst
    never: list[Any]


def table(
    runs: Mapping[str, Run], names: Sequence[str], *, near: float, trials: int, at: Sequence[int] = (40, 60)
) -> list[Row]:
    """Return a row a sampler, the fewest trials first."""
    needed = {
        name: {
            ground: [one.reached(run.range[0] / near) for one in run.replays[name]]
            for ground, run in runs.items()
        }
        for name in names
    }
    rows = []
    for name in names:
        counts = [count for group in needed[name].values() for count in group]
        spent = sorted(trials if count is None else count for count in counts)
        parts = {
            count: math.exp(statistics.fmean(
                statistics.fmean(math.log(reached_at(one, count, run.range)) for one in run.replays[name])
                for run in runs.values()
            ))
            for count in at
        }  # fmt: skip
        against = None if name == OURS or OURS not in names else _against(needed[name], needed[OURS], trials)
        rows.append(
            Row(
                name,
                statistics.median(spent),
                spent[math.ceil(0.9 * len(spent)) - 1],
                trials,
                sum(count is not None for count in counts) / len(counts),
                parts,
                against,
            )
        )
    return sorted(rows, key=lambda row: (row.median, row.ninetieth))


def reached_at(replay: Replay, trials: int, extremes: tuple[float, float]) -> float:
    """Return the best after so many trials as part of the best there is; the worst where none was right by then."""
    best, worst = extremes
    return best / min(worst, replay.best[min(trials, len(replay.best)) - 1])


def _against(
    theirs: Mapping[str, Sequence[int | None]], ours: Mapping[str, Sequence[int | None]], trials: int
) -> tuple[float, float, float]:
    """Return trials over tunedb's, geometric mean over problems, and what resampling the problems gives."""

    def middle(counts: Sequence[int | None]) -> float:
        return statistics.fmean(math.log(trials if count is None else count) for count in counts)

    ratios = [middle(theirs[ground]) - middle(ours[ground]) for ground in ours]
    rng = random.Random(0)
    means = sorted(statistics.fmean(rng.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLED))
    low, high = means[_RESAMPLED // 20], means[-_RESAMPLED // 20]
    return math.exp(statistics.fmean(ratios)), math.exp(low), math.exp(high)


def dimensions(landscapes: Sequence[Landscape]) -> dict[str, Dimension]:
    """Return what each field of each kernel with a choice is worth, by "kernel.FIELD".

    A landscape where a value has no right config counts against it as infinitely slow for `fixed`.
    """
    found: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    offered: dict[str, int] = defaultdict(int)
    for one in landscapes:
        times = one.times
        best = min(times.values())
        for position, (field, values) in enumerate(one.values.items()):
            if len(values) < 2:
                continue
            offered[f"{one.kernel}.{field}"] += 1
            for value in values:
                fastest = min(
                    (us for config, us in times.items() if config[position] == value), default=math.inf
                )
                found[f"{one.kernel}.{field}"][value].append(fastest / best)
    result = {}
    for name, by_value in found.items():
        ordered = sorted(by_value, key=lambda value: (isinstance(value, str), value))
        shown = {
            value: (
                _mean([ratio for ratio in by_value[value] if math.isfinite(ratio)]),
                max(by_value[value]),
                sum(ratio <= WINS for ratio in by_value[value]),
                len(by_value[value]),
            )
            for value in ordered
        }
        everywhere = {
            value: _mean(by_value[value]) for value in ordered if len(by_value[value]) == offered[name]
        }
        held = min(everywhere, key=lambda value: everywhere[value], default=None)
        fixed = None if held is None else (held, everywhere[held], max(by_value[held]))
        result[name] = Dimension(shown, fixed, [value for value in ordered if not shown[value][2]])
    return dict(sorted(result.items()))


def _mean(ratios: Sequence[float]) -> float:
    if not ratios or not all(math.isfinite(ratio) for ratio in ratios):
        return math.inf
    return statistics.geometric_mean(ratios)


def page(
    rows: Sequence[Row], worth: Mapping[str, Dimension], used: Sequence[Landscape], left_out: Sequence[Landscape],
    missing: Mapping[str, str], *, facts: str, drawing: str | None, least_density: float,
) -> str:  # fmt: skip
    """Return the page for docs/, in Markdown."""
    most = rows[0].most
    lines = [
        "# Samplers on recorded landscapes",
        "",
        f"Written by `scripts/compare_samplers.py`: {facts}. Trials to 98 % of the best config recorded (time at most best / 0.98); a replay that did",
        f"not get there within {most} counts as {most}. `at 40` is the best time of all over the best after 40 trials, geometric mean over problems.",
        "`trials / tunedb` is the geometric mean over problems, with what 90 % of resamplings of the problems give: an",
        "interval that holds 1 is no difference.",
        "",
        *([f"![Best so far by trials]({drawing})", ""] if drawing else []),
        "| sampler | median trials | 90th percentile | got there | at 40 | at 60 | trials / tunedb |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        against = "" if row.against is None else "{:.2f} ({:.2f} to {:.2f})".format(*row.against)
        lines.append(
            f"| {SAMPLERS[row.name].said} | {_trials(row.median, most)} | {_trials(row.ninetieth, most)} | {row.reached:.0%} | "
            f"{row.at[40]:.1%} | {row.at[60]:.1%} | {against} |"
        )
    lines += ["", *(f"Not run: {SAMPLERS[name].said}; it needs {lacks}." for name, lacks in missing.items())]
    lines += [
        "",
        "## What each field is worth",
        "",
        "Best time with the field held to a value over the best of all, geometric mean over landscapes (landscapes within 2 % / with it).",
        "`hold at` is the one value that costs least where every landscape has it, with its mean and worst cost.",
        "",
        "| field | hold at | values | never within 2 % |",
        "| --- | --- | --- | --- |",
    ]
    for name, one in worth.items():
        values = ", ".join(
            f"{value}: {_ratio(ratio)} ({won}/{count})"
            for value, (ratio, _, won, count) in one.values.items()
        )
        held = "" if one.fixed is None else f"{one.fixed[0]}: {_ratio(one.fixed[1])}, {_ratio(one.fixed[2])}"
        lines.append(f"| {name} | {held} | {values} | {', '.join(map(str, one.never))} |")
    lines += ["", "## The landscapes", "", "| problem | kernel | configs | of the valid | right | best (us) | device | date |"]  # fmt: skip
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    lines += [
        f"| {one.label} | {one.kernel} | {len(one.rows)} | {'?' if one.density is None else f'{one.density:.0%}'} | {len(one.times)} | "
        f"{min(one.times.values()):.1f} | {one.device} | {one.date} |"
        for one in used
    ]
    if left_out:
        names = ", ".join(f"{one.label} {one.kernel} ({one.density or 0:.1%})" for one in left_out)
        lines += [
            "",
            f"Left out, because less than {least_density:.0%} of the valid configs are recorded: {names}.",
        ]
    return "\n".join(lines) + "\n"


def _trials(count: float, most: int) -> str:
    return f"over {most}" if count >= most else f"{count:g}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if math.isfinite(ratio) else "never right"
