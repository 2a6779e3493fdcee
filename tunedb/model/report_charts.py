"""The plots of a suite's report: bars by layer, what is saved, and where a forward pass goes. Each is readable without colours."""

from collections.abc import Sequence
from typing import NamedTuple

from tunedb.describe import micros
from tunedb.model.report import Row, Totals
from tunedb.model.report_svg import ESTIMATE, INK, MUTED, ON_TUNEDB, TORCH, TUNEDB, Canvas, Size, cut

__all__ = ["layers_chart", "pass_chart", "saved_chart"]

SHOWN = 30  # layers of a plot; the others are summed
HATCH = "////"


class _Bar(NamedTuple):
    """Microseconds of a forward pass; what is not known is 0."""

    name: str
    floor: float
    torch: float
    tunedb: float
    estimated: float
    value: str


def layers_chart(rows: Sequence[Row], size: Size) -> str:
    """Return floor, tunedb and torch of the layers that take most of a forward pass."""
    ranked = sorted(rows, key=lambda row: -row.weight_us)
    bars = [_layer(row) for row in ranked[:SHOWN]] + _others(ranked[SHOWN:])
    title = f"Time of a forward pass by layer, {len(bars)} bars"
    drawing, scale = _frame(bars, size, [_length(bar) for bar in bars])
    left = size.names
    _key(drawing, size, estimates=any(bar.estimated for bar in bars))
    for place, bar in enumerate(bars):
        y = _name(drawing, bar.name, place, size)
        drawing.bar(left, y, scale * bar.torch, 15, fill=TORCH, edge=MUTED)
        if bar.estimated:
            drawing.bar(
                left + scale * bar.torch,
                y,
                scale * bar.estimated,
                15,
                edge=ESTIMATE,
                hatch=HATCH,
                dashed=True,
            )
        if bar.tunedb:
            drawing.bar(left, y, scale * bar.tunedb, 8, fill=TUNEDB)
        drawing.tick(left + scale * bar.floor, y, 19)
        drawing.text(left + scale * _length(bar) + 8, y, bar.value, size=11.5)
    return drawing.svg(f"layers-{size.name}", title, "; ".join(f"{bar.name}: {bar.value}" for bar in bars))


def saved_chart(rows: Sequence[Row], size: Size) -> str:
    """Return what is saved a forward pass by layer; "" where nothing is saved or estimated."""
    gains = [
        (row, row.saved_pass_us if row.saved_pass_us is not None else row.estimated_saved_pass_us or 0.0)
        for row in rows
    ]
    ranked = sorted(((row, gain) for row, gain in gains if gain), key=lambda pair: -abs(pair[1]))
    if not ranked:
        return ""
    bars = [_gain(row.name, gain if row.saved_pass_us is not None else 0.0, 0.0 if row.saved_pass_us is not None else gain) for row, gain in ranked[:SHOWN]]  # fmt: skip
    if others := ranked[SHOWN:]:
        known = sum(gain for row, gain in others if row.saved_pass_us is not None)
        bars.append(_gain(f"{len(others)} other layers", known, sum(gain for _, gain in others) - known))
    drawing, scale = _frame(bars, size, [abs(bar.tunedb) + bar.estimated for bar in bars])
    _key_of(drawing, size, [("saved", "tunedb"), *([("estimate", "estimate")] if any(bar.estimated for bar in bars) else []), *([("lost", "lost")] if any(bar.tunedb < 0 for bar in bars) else [])])  # fmt: skip
    for place, bar in enumerate(bars):
        y = _name(drawing, bar.name, place, size)
        if bar.tunedb < 0:  # a loss is an empty bar with a minus before its value
            drawing.bar(size.names, y, -scale * bar.tunedb, 11, edge=INK, dashed=True)
        else:
            drawing.bar(size.names, y, scale * bar.tunedb, 11, fill=TUNEDB)
        if bar.estimated:
            drawing.bar(
                size.names + scale * abs(bar.tunedb),
                y,
                scale * bar.estimated,
                11,
                edge=ESTIMATE,
                hatch=HATCH,
                dashed=True,
            )
        drawing.text(size.names + scale * (abs(bar.tunedb) + bar.estimated) + 8, y, bar.value, size=11.5)
    return drawing.svg(
        f"saved-{size.name}",
        "Saved a forward pass by layer",
        "; ".join(f"{bar.name}: {bar.value}" for bar in bars),
    )


def pass_chart(rows: Sequence[Row], totals: Totals, size: Size) -> str:
    """Return a forward pass with torch alone and with tunedb: layers answered, left to torch, and unswept."""
    answered = [row for row in rows if row.state == "answered"]
    before = sum(row.torch_pass_us or 0.0 for row in answered)
    after = sum(row.tunedb_pass_us or 0.0 for row in answered)
    torch = totals.torch_us - before
    passes = (("with torch alone", before, TORCH), ("with tunedb", after, TUNEDB))
    left = 130 if size.names else 0
    step = 46 if size.names else 58
    scale = (size.width - left - 4) / max(
        before + torch + totals.estimated_torch_us, after + torch + totals.estimated_torch_us, 1e-9
    )
    drawing = Canvas(size.width, 2 * step + 12 + 24 * 3)
    for place, (name, time, colour) in enumerate(passes):
        y = step * place + (26 if size.names else 40)
        drawing.text(0, y if size.names else y - 26, name, bold=True)
        x = float(left)
        for length, fill, edge, hatch in (
            (time, colour, MUTED, ""),
            (torch, TORCH, MUTED, "\\\\\\\\"),
            (totals.estimated_torch_us, "none", ESTIMATE, HATCH),
        ):
            if length:
                drawing.bar(
                    x, y, scale * length, 28, fill=fill, edge=edge, hatch=hatch, dashed=edge == ESTIMATE
                )
            if not hatch and scale * length > 70:
                drawing.text(
                    x + scale * length / 2,
                    y,
                    micros(length),
                    ON_TUNEDB if fill == TUNEDB else INK,
                    bold=True,
                    align="center",
                )
            x += scale * length
    words = [
        (
            "answered",
            f"answered by tunedb: {f'{micros(before)} → {micros(after)}' if answered else 'no layer'}",
        ),
        ("torch", f"left to torch: {micros(torch) if totals.torch else 'no layer'}"),
        ("estimate", f"unswept: {_unswept(totals)}"),
    ]
    for place, (kind, text) in enumerate(words):
        y = 2 * step + 22 + 24 * place
        _sample(drawing, left, y, kind)
        drawing.text(left + 34, y, text)
    return drawing.svg(
        f"pass-{size.name}", "Where the time of a forward pass goes", "; ".join(text for _, text in words)
    )


def _unswept(totals: Totals) -> str:
    if not totals.unswept:
        return "no layer"
    if totals.not_estimated == totals.unswept:
        return "unknown"
    more = f", {totals.not_estimated} unknown" if totals.not_estimated else ""
    return f"about {micros(totals.estimated_torch_us)}, an estimate{more}"


def _layer(row: Row) -> _Bar:
    floor = row.calls * row.floor_us
    name = f"{row.name} \N{MULTIPLICATION SIGN}{row.calls}" if row.calls > 1 else row.name
    torch, tunedb = row.torch_pass_us or 0.0, row.tunedb_pass_us or 0.0
    if row.state == "unswept":
        estimated = row.estimated_torch_pass_us or 0.0
        return _Bar(
            name,
            floor,
            0.0,
            0.0,
            estimated,
            f"~{micros(estimated)}, unswept" if estimated else "unswept, unknown",
        )
    if row.state == "torch":
        return _Bar(name, floor, torch, 0.0, 0.0, f"{micros(torch)}, torch")
    return _Bar(name, floor, torch, tunedb, 0.0, f"{micros(torch)} → {micros(tunedb)}")


def _others(rows: Sequence[Row]) -> list[_Bar]:
    if not rows:
        return []
    torch = sum(row.torch_pass_us or 0.0 for row in rows)
    tunedb = sum(row.tunedb_pass_us or 0.0 for row in rows if row.state != "unswept")
    estimated = sum(row.estimated_torch_pass_us or 0.0 for row in rows)
    value = f"{micros(torch)} → {micros(tunedb)}" + (f", ~{micros(estimated)}" if estimated else "")
    return [
        _Bar(
            f"{len(rows)} other layers",
            sum(row.calls * row.floor_us for row in rows),
            torch,
            tunedb,
            estimated,
            value,
        )
    ]


def _gain(name: str, known: float, estimated: float) -> _Bar:
    parts = [micros(known) if known > 0 else f"-{micros(-known)}"] if known else []
    return _Bar(
        name,
        0.0,
        0.0,
        known,
        estimated,
        ", ".join([*parts, *([f"~{micros(estimated)}"] if estimated else [])]),
    )


def _length(bar: _Bar) -> float:
    return max(bar.torch + bar.estimated, bar.tunedb, bar.floor)


def _frame(bars: Sequence[_Bar], size: Size, lengths: Sequence[float]) -> tuple[Canvas, float]:
    """Return a drawing with room for the bars, and the pixels of a microsecond."""
    scale = size.scale([(length, bar.value) for length, bar in zip(lengths, bars, strict=True)])
    return Canvas(size.width, 38 + size.step * len(bars)), scale


def _name(drawing: Canvas, name: str, place: int, size: Size) -> float:
    """Write the name of a bar and return where the middle of the bar is."""
    if size.names:
        y = 50 + 25 * place
        drawing.text(size.names - 10, y, cut(name, size.letters), size=11.5, align="right")
        return float(y)
    y = 44 + 42 * place
    drawing.text(0, y, cut(name, size.letters), MUTED, size=11.5)
    return y + 20.0


def _key(drawing: Canvas, size: Size, *, estimates: bool) -> None:
    kinds = [("torch", "plain"), ("tunedb", "answered"), ("floor", "floor")]
    _key_of(drawing, size, [*kinds, *([("estimate", "estimate")] if estimates else [])])


def _key_of(drawing: Canvas, size: Size, kinds: Sequence[tuple[str, str]]) -> None:
    x = float(size.names)
    for words, kind in kinds:
        _sample(drawing, x, 14, kind)
        drawing.text(x + 30, 14, words, size=11.5)
        x += 44 + 7.0 * len(words)


def _sample(drawing: Canvas, x: float, y: float, kind: str) -> None:
    if kind == "estimate":
        drawing.bar(x, y, 24, 13, edge=ESTIMATE, hatch=HATCH, dashed=True)
    elif kind in {"torch", "plain"}:
        drawing.bar(x, y, 24, 13, fill=TORCH, edge=MUTED, hatch="\\\\\\\\" if kind == "torch" else "")
    elif kind == "floor":
        drawing.tick(x + 12, y, 17)
    elif kind == "lost":
        drawing.bar(x, y, 24, 11, edge=INK, dashed=True)
    else:
        drawing.bar(x, y, 24, 9, fill=TUNEDB)
