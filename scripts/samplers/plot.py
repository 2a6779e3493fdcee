"""Best so far by trials, a line a sampler, as an SVG that reads on light and on dark pages."""

import math
import statistics
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from samplers.report import Run, reached_at

__all__ = ["plot"]

TEXT, LINE, NEAR = "#7d8590", "#7d859055", "#3fb950"
COLOURS = ("#2f81f7", "#7d8590", "#d29922", "#f85149", "#a371f7", "#39c5cf")
DASHES = ("", "6 3", "2 3")  # after the colours: for those who do not tell them
LEFT, TOP, WIDE, HIGH, KEY = 52, 48, 420, 260, 176  # pixels
LOW = 0.4  # of the best: below is cut off
TICKS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1.0)


def plot(runs: Mapping[str, Run], names: Sequence[str], trials: int) -> str:
    """Return the geometric mean over problems and seeds of the best time of all over the best after each trial."""
    width, height = LEFT + WIDE + KEY, TOP + HIGH + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
        f'<text x="{LEFT}" y="18" font-size="15">Best config found, as part of the best there is</text>',
        f'<text x="{LEFT}" y="34">geometric mean over {len(runs)} recorded problems, by trials</text>',
    ]
    for tick in TICKS:
        colour = NEAR if tick == 0.98 else LINE
        parts += [
            f'<line x1="{LEFT}" y1="{_y(tick)}" x2="{LEFT + WIDE}" y2="{_y(tick)}" stroke="{colour}"/>',
            f'<text x="{LEFT - 6}" y="{_y(tick) + 4}" text-anchor="end" font-size="9">{tick:.0%}</text>',
        ]
    for count in range(10, trials + 1, 10):
        x = LEFT + WIDE * count / trials
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + HIGH + 16}" text-anchor="middle" font-size="9">{count}</text>'
        )
    for place, name in enumerate(names):
        style = f'stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="2" stroke-dasharray="{DASHES[place // len(COLOURS) % len(DASHES)]}"'
        points = " ".join(
            f"{LEFT + WIDE * count / trials:.1f},{_y(_mean(runs, name, count))}"
            for count in range(1, trials + 1)
        )
        y = TOP + 8 + 18 * place
        parts += [
            f'<polyline points="{points}" fill="none" {style}/>',
            f'<line x1="{LEFT + WIDE + 14}" y1="{y}" x2="{LEFT + WIDE + 42}" y2="{y}" {style}/>',
            f'<text x="{LEFT + WIDE + 48}" y="{y + 4}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</g></svg>\n"])


def _mean(runs: Mapping[str, Run], name: str, count: int) -> float:
    return math.exp(
        statistics.fmean(
            statistics.fmean(math.log(reached_at(one, count, run.range)) for one in run.replays[name])
            for run in runs.values()
        )
    )


def _y(part: float) -> float:
    return round(TOP + HIGH * math.log(max(part, LOW)) / math.log(LOW), 1)
