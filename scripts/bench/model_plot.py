"""Torch's time over tunedb's of every model, as an SVG that reads on light and on dark pages."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.model_rows import DTYPES, MODES, Row
from bench.plot import FLOOR, LINE, TEXT

__all__ = ["plot"]

COLOURS = {"float16": "#2f81f7", "bfloat16": "#d29922", "float32": "#7d8590"}
LEFT, TOP, GAP, PANEL, LINE_HEIGHT = 176, 104, 22, 230, 24  # pixels
MOST = 10.0  # what lies outside is drawn at the edge
TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 6)


def plot(rows: Sequence[Row]) -> str:
    """Return a panel a mode, a line a model and layout; filled marks are swept, open ones are not."""
    timed = [row for row in rows if row.ratio]
    panels = [mode for mode in MODES if any(row.mode == mode for row in timed)]
    names = [*dict.fromkeys(_name(row) for row in timed)]
    ratios = [row.ratio or 1 for row in timed]
    low = max(tick for tick in TICKS if tick <= max(0.5, min([0.9, *ratios])))
    high = min(1.05 * max([1.5, *ratios]), MOST)
    width = LEFT + max(1, len(panels)) * (PANEL + GAP)
    height = TOP + LINE_HEIGHT * len(names) + 24
    where = ", ".join(sorted({row.device for row in timed if row.device}))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
        '<text x="8" y="20" font-size="15">Real models: torch\'s time over tunedb\'s</text>',
        f'<text x="8" y="37">{escape(where)}; torch in the same layout and mode; logarithmic, right is better</text>',
        *_legend(),
    ]
    for index, name in enumerate(names):
        parts.append(f'<text x="{LEFT - 8}" y="{_middle(index) + 4}" text-anchor="end">{escape(name)}</text>')
    for place, mode in enumerate(panels):
        left = LEFT + place * (PANEL + GAP)
        parts.append(f'<text x="{left}" y="{TOP - 22}" font-weight="600">{mode}</text>')
        parts += _panel([row for row in timed if row.mode == mode], left, names, (low, high))
    return "\n".join([*parts, "</g></svg>\n"])


def _name(row: Row) -> str:
    return row.model + (" cl" if row.layout == "channels_last" else "")


def _middle(index: int) -> float:
    return TOP + LINE_HEIGHT * (index + 0.5)


def _legend() -> list[str]:
    parts, x = [], 14
    for dtype in DTYPES:
        parts += [_mark(dtype, x, 54, filled=True), f'<text x="{x + 9}" y="58">{dtype}</text>']
        x += 32 + 7 * len(dtype)
    return [*parts, f'<text x="{x}" y="58">filled: swept, open: unswept; cl: channels_last</text>']


def _panel(rows: Sequence[Row], left: float, names: Sequence[str], bounds: tuple[float, float]) -> list[str]:
    low, high = bounds
    bottom = TOP + LINE_HEIGHT * len(names)

    def x_of(value: float) -> float:
        return round(left + PANEL * math.log(min(max(value, low), high) / low) / math.log(high / low), 1)

    parts, last = [], -math.inf
    for tick in sorted((tick for tick in TICKS if low <= tick <= high), key=lambda tick: (tick != 1, tick)):
        colour, wide = (FLOOR, 2) if tick == 1 else (LINE, 1)
        x = x_of(tick)
        parts.append(
            f'<line x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{bottom}" stroke="{colour}" stroke-width="{wide}"/>'
        )
        if tick == 1 or (abs(x - x_of(1)) > 20 and x - last > 20):  # where a number has room
            parts.append(f'<text x="{x}" y="{TOP - 7}" text-anchor="middle" font-size="9">{tick:g}</text>')
            last = -math.inf if tick == 1 else x
    for row in rows:
        # The dtypes of a model stand a little below each other.
        y = _middle(names.index(_name(row))) + 6 * (DTYPES.index(row.dtype) - 1)
        swept = "swept" if row.swept else "unswept"
        told = f"{row.model} {row.dtype} {row.layout} {row.mode} {swept}: {row.torch_ms:.3f} ms / {row.tunedb_ms:.3f} ms = {row.ratio:.2f}"
        parts.append(
            f"<g><title>{escape(told)}</title>{_mark(row.dtype, x_of(row.ratio or 1), y, filled=row.swept)}</g>"
        )
    return parts


def _mark(dtype: str, x: float, y: float, *, filled: bool) -> str:
    """Return a shape of its own for each dtype, for those who do not tell its colour."""
    colour = COLOURS[dtype]
    style = f'fill="{colour if filled else "none"}" stroke="{colour}" stroke-width="1.5"'
    if dtype == "float16":
        return f'<circle cx="{x}" cy="{y}" r="3" {style}/>'
    if dtype == "bfloat16":
        return f'<path d="M{x - 3.5} {y + 3}L{x + 3.5} {y + 3}L{x} {y - 3.5}Z" {style}/>'
    return f'<rect x="{x - 2.75}" y="{y - 2.75}" width="5.5" height="5.5" {style}/>'
