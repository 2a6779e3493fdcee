"""The plot of a database's report: the speed-up of each group of records."""

from collections.abc import Sequence

from tunedb.model.database_report import Group
from tunedb.model.report_charts import Size
from tunedb.model.report_svg import MUTED, TUNEDB, Canvas, cut

__all__ = ["groups_chart"]


def groups_chart(groups: Sequence[Group], size: Size) -> str:
    """Return the geometric mean speed-up over torch of each group that knows it; "" where none does."""
    known = [group for group in groups if group.speedup]
    if not known:
        return ""
    step = 25 if size.names else 42
    longest = max(1.0, *(group.speedup or 0.0 for group in known))
    scale = (size.width - size.names - size.values) / longest
    drawing = Canvas(size.width, 34 + step * len(known))
    drawing.text(
        size.names + scale, 12, "torch: 1.00", MUTED, size=11.5, align="center" if size.names else "left"
    )
    told = []
    for place, group in enumerate(known):
        speedup = group.speedup or 0.0
        precision = f" {group.precision}" if group.dtype == "float32" else ""
        name = f"{group.device} {group.op} {group.dtype}{precision} {group.layout}"
        value = f"{speedup:.2f}" + (f", {group.floor_share:.0%} of the floor" if group.floor_share else "")
        told.append(f"{name}: {value}")
        y = 44.0 + step * place
        if size.names:
            drawing.text(size.names - 10, y, cut(name, 48), size=10.5, align="right")
        else:
            drawing.text(0, y - 6, name, MUTED, size=11.5)
            y += 13
        drawing.bar(size.names, y, scale * speedup, 11, fill=TUNEDB)
        drawing.text(
            size.names + scale * speedup + 8,
            y,
            value if size.names else value.split(",", maxsplit=1)[0],
            size=11.5,
        )
        drawing.tick(size.names + scale, y, 17)
    return drawing.svg(
        f"groups-{size.name}", "Speed-up over torch, the geometric mean of each group", "; ".join(told)
    )
