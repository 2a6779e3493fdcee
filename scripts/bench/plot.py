"""Every problem's times over the hardware floor, as an SVG that reads on light and on dark pages."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.report import groups
from bench.results import Results, Row

__all__ = ["plot"]

# Middle tones without a background: the page's own, light or dark, shows through.
TEXT, LINE = "#7d8590", "#7d859055"
MARKS = {
    "cudnn": ("cuDNN", "#7d8590"),
    "triton": ("Triton", "#2f81f7"),
    "sm89": ("Triton as sm_89", "#d29922"),
}
FLOOR = "#3fb950"
LEFT, TOP, GAP, PANEL, ROW = 76, 104, 22, 250, 16  # pixels
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def plot(results: Results) -> str:
    """Return a panel for each dtype and layout, a line a problem, times over the floor on a logarithmic axis."""
    panels = groups(row for row in results.rows if row.floor_us)
    names = [*dict.fromkeys(row.id for row in _by_op(results.rows))]
    values = [
        _over(row, column)
        for rows in panels.values()
        for row in rows
        for column in MARKS
        if column in row.times
    ]
    low = 0.5 if min(values, default=1) < 0.98 else 0.9
    high = max([10.0, *values]) * 1.1
    width = LEFT + max(1, len(panels)) * (PANEL + GAP)
    height = TOP + ROW * len(names) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(results.suite)}: GPU time over the hardware floor</text>',
        f'<text x="{LEFT}" y="37">{escape(results.device)}, {escape(results.date)}; logarithmic, left is better</text>',
        *_legend(),
    ]
    for index, name in enumerate(names):
        parts.append(f'<text x="{LEFT - 8}" y="{_middle(index) + 4}" text-anchor="end">{escape(name)}</text>')
    for place, ((dtype, layout), rows) in enumerate(panels.items()):
        left = LEFT + place * (PANEL + GAP)
        parts.append(f'<text x="{left}" y="{TOP - 22}" font-weight="600">{dtype} {layout}</text>')
        parts += _panel(rows, left, names, (low, high))
    return "\n".join([*parts, "</g></svg>\n"])


def _by_op(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.op)


def _middle(index: int) -> float:
    return TOP + ROW * (index + 0.5)


def _over(row: Row, column: str) -> float:
    assert row.floor_us is not None
    return row.times[column][0] / row.floor_us


def _legend() -> list[str]:
    parts, x = [], LEFT + 6
    for name, (title, _) in MARKS.items():
        parts += [_mark(name, x, 54), f'<text x="{x + 9}" y="58">{title}</text>']
        x += 32 + 7 * len(title)
    parts.append(f'<line x1="{x}" y1="48" x2="{x}" y2="60" stroke="{FLOOR}" stroke-width="2"/>')
    return [*parts, f'<text x="{x + 9}" y="58">the floor</text>']


def _panel(rows: Sequence[Row], left: float, names: Sequence[str], bounds: tuple[float, float]) -> list[str]:
    low, high = bounds
    bottom = TOP + ROW * len(names)

    def x_of(value: float) -> float:
        return round(left + PANEL * math.log(value / low) / math.log(high / low), 1)

    parts = []
    for tick in TICKS:
        if low <= tick <= high:
            colour, wide = (FLOOR, 2) if tick == 1 else (LINE, 1)
            parts += [
                f'<line x1="{x_of(tick)}" y1="{TOP - 4}" x2="{x_of(tick)}" y2="{bottom}" stroke="{colour}" stroke-width="{wide}"/>',
                f'<text x="{x_of(tick)}" y="{TOP - 7}" text-anchor="middle" font-size="9">{tick:g}</text>',
                f'<text x="{x_of(tick)}" y="{bottom + 12}" text-anchor="middle" font-size="9">{tick:g}</text>',
            ]
    for row in rows:
        y = _middle(names.index(row.id))
        there = {column: x_of(_over(row, column)) for column in MARKS if column in row.times}
        if there:
            parts.append(
                f'<line x1="{min(there.values())}" y1="{y}" x2="{max(there.values())}" y2="{y}" stroke="{LINE}" stroke-width="3"/>'
            )
        said = ", ".join(f"{column} {row.times[column][0]:.1f} µs" for column in there)
        marks = "".join(_mark(column, x, y) for column, x in there.items())
        parts.append(
            f"<g><title>{escape(row.id)} {row.op}: floor {row.floor_us:.1f} µs, {said}</title>{marks}</g>"
        )
    return parts


def _mark(column: str, x: float, y: float) -> str:
    """Return a shape of its own for each column, for those who do not tell its colour."""
    colour = MARKS[column][1]
    if column == "cudnn":
        return f'<circle cx="{x}" cy="{y}" r="4" fill="none" stroke="{colour}" stroke-width="2"/>'
    if column == "triton":
        return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"/>'
    return f'<path d="M{x - 4.5} {y + 3.5}L{x + 4.5} {y + 3.5}L{x} {y - 4.5}Z" fill="{colour}"/>'
