"""The plot of a database's report: the speed-up of each group of records."""

from collections.abc import Sequence

from tunedb.model.database_report import Group
from tunedb.model.report_svg import MUTED, TUNEDB, Canvas, Size, cut

__all__ = ["groups_chart"]


def groups_chart(groups: Sequence[Group], size: Size) -> str:
    """Return the geometric mean speed-up over torch of each group that knows it; "" where none does."""
    known = [group for group in groups if group.speedup]
    if not known:
        return ""
    values = {group: _value(group, size) for group in known}
    scale = size.scale([(1.0, ""), *((group.speedup or 0.0, value) for group, value in values.items())])
    drawing = Canvas(size.width, 34 + size.step * len(known))
    drawing.text(
        size.names + scale, 12, "torch: 1.00", MUTED, size=11.5, align="center" if size.names else "left"
    )
    for place, (group, value) in enumerate(values.items()):
        length = scale * (group.speedup or 0.0)
        y = 44.0 + size.step * place
        if size.names:
            drawing.text(size.names - 10, y, cut(_name(group), 48), size=10.5, align="right")
        else:
            drawing.text(0, y - 6, _name(group), MUTED, size=11.5)
            y += 13
        drawing.bar(size.names, y, length, 11, fill=TUNEDB)
        drawing.text(size.names + length + 8, y, value, size=11.5)
        drawing.tick(size.names + scale, y, 17)
    told = "; ".join(f"{_name(group)}: {value}" for group, value in values.items())
    return drawing.svg(f"groups-{size.name}", "Speed-up over torch, the geometric mean of each group", told)


def _name(group: Group) -> str:
    precision = f" {group.precision}" if group.dtype == "float32" else ""
    return f"{group.device} {group.op} {group.dtype}{precision} {group.layout}"


def _value(group: Group, size: Size) -> str:
    of_floor = f", {group.floor_share:.0%} of the floor" if group.floor_share and size.names else ""
    return f"{group.speedup:.2f}{of_floor}"
