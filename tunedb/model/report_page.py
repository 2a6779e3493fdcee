"""A report as one HTML page that needs nothing else: no network, no fonts, and no script to be read."""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from tunedb.describe import describe, micros
from tunedb.model.database_report import DatabaseReport, Named
from tunedb.model.report import Report, Row
from tunedb.model.report_words import MEANS, counted, gain, here, printable, rest, speedup, trust

__all__ = ["page"]


def page(found: Report | DatabaseReport) -> str:
    """Return a report as HTML. The same report gives the same text.

    Raises TunedbError: where matplotlib, which draws the plots, is not installed.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    style, script = _part("style.css"), _part("sort.js")
    shown = _suite(found) if isinstance(found, Report) else _databases(found)
    plots = shown.pop("plots")

    def plot(name: str) -> Markup:
        """Return a plot in both its forms, of which the style sheet shows one."""
        forms = ((form, plots.get(f"{name}_{form}", "")) for form in ("wide", "narrow"))
        return Markup("\n").join(Markup(f'<div class="{form}">{svg}</div>') for form, svg in forms if svg)  # noqa: S704 (ElementTree has escaped its words)

    template = environment.get_template("suite.html" if isinstance(found, Report) else "databases.html")
    return template.render(
        **shown, report=found, plot=plot, micros=micros, counted=counted, means=MEANS, speedup=speedup,
        style=Markup(style), script=Markup(script), script_hash=_hash(script),  # noqa: S704 (files of our own)
    )  # fmt: skip


def _suite(found: Report) -> dict[str, Any]:
    from tunedb.model.report_charts import layers_chart, pass_chart, saved_chart

    rows = [row._replace(id=printable(row.id), modules=tuple(map(printable, row.modules)), why=printable(row.why)) for row in found.rows]  # fmt: skip
    rows.sort(key=lambda row: -row.weight_us)
    plots: dict[str, str] = {}
    if rows:
        plots |= _both("layers", lambda size: layers_chart(rows, size))
        plots |= _both("saved", lambda size: saved_chart(rows, size))
        plots |= _both("whole", lambda size: pass_chart(rows, found.totals, size))
    return {
        "title": printable(found.title) or "Layers", "rows": rows, "shapes": _shapes, "plots": plots, "source": _source,
        "gain": gain(found.totals), "rest": rest(found.totals), "trust": trust(found), "here": here(found),
    }  # fmt: skip


def _databases(found: DatabaseReport) -> dict[str, Any]:
    from tunedb.model.database_chart import groups_chart

    def names(one: Named) -> str:
        return ", ".join(map(printable, one.names))

    return {
        "title": printable(found.title) or "Databases", "paths": [printable(str(path)) for path in found.paths],
        "names": names, "describe": describe, "plots": _both("groups", lambda size: groups_chart(found.groups, size)),
    }  # fmt: skip


def _both(name: str, draw: Callable[[Any], str]) -> dict[str, str]:
    from tunedb.model.report_svg import NARROW, WIDE

    return {f"{name}_{size.name}": draw(size) for size in (WIDE, NARROW)}


def _shapes(row: Row) -> str:
    return describe(row.problem)


def _source(row: Row) -> str:
    """Return what the time of a layer rests on, with the record's provenance and device where those are others'."""
    if row.rests_on == "borrowed":
        return f"borrowed: {row.provenance} on {row.record_device}"
    return row.rests_on or "no record"


def _part(name: str) -> str:
    return files("tunedb.model.page").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
