"""The command `tunedb report`."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunedb.cli import complete
from tunedb.cli.answering_first import answering_first
from tunedb.cli.options import DatabaseFile, device_option, json_option
from tunedb.problem import DTYPES, LAYOUTS, PRECISIONS

if TYPE_CHECKING:
    from tunedb.model.database_report import DatabaseReport
    from tunedb.model.report import Report

__all__ = ["report"]


@click.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...", shell_complete=complete.suites)
@click.option(
    "--db",
    type=DatabaseFile(),
    metavar="FILE",
    help="With a suite, a database that answers before those in use; without one, the only database of the report.",
)
@device_option(
    "GPU to report on. Default: the GPU of this machine, else 4090; without a suite every device.",
)
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="float16", show_default=True, help="For layers that do not say their own."
)  # fmt: skip
@click.option(
    "--layout", type=click.Choice(LAYOUTS), default="channels_first", show_default=True, help="For layers that do not say their own."
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="tf32", show_default=True, help="Of float32, for layers that do not say their own."
)  # fmt: skip
@click.option(
    "--compiled",
    is_flag=True,
    help="Report on a model as torch.compile runs it: two-dimensional layers in channels_last, torch's bias for nothing.",
)
@json_option("Print JSON data instead of a table; all times are in microseconds.")
@click.option(
    "--html",
    "html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write one self-contained HTML page with plots; needs matplotlib (the extra tunedb[report]).",
)
def report(
    suites: tuple[str, ...], db: Path | None, device: str | None, dtype: str, layout: str, precision: str, compiled: bool, as_data: bool,
    html: Path | None,
) -> None:  # fmt: skip
    """Say what the records are worth, layer by layer.

    SUITE is the name of a suite or a JSON file, such as a captured one. Without one the report is of the databases themselves.
    """
    _check(db)
    found: Report | DatabaseReport
    if suites:
        with answering_first(db):
            found = _of_suites(suites, device, dtype, precision, layout, compiled=compiled)
    elif compiled:
        raise click.UsageError("--compiled is of a model: name its suite.")
    else:
        found = _of_databases(db, device)
    if html is not None:
        write_page(found, html)
    _say(found, html, as_data=as_data)


def _say(found: "Report | DatabaseReport", html: Path | None, *, as_data: bool) -> None:
    from tunedb.model.report_json import as_json
    from tunedb.model.report_table import report_text

    if as_data:
        click.echo(json.dumps(as_json(found), indent=1))
        return
    click.echo(report_text(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    if html is not None:
        click.echo(f"\nThe page is in {html}")


def _check(db: Path | None) -> None:
    """Refuse a database that is not there, before anything is read."""
    if db is not None and not db.is_file():
        raise click.BadParameter(f"must be a file, but there is none at {db}.", param_hint="'--db'")


def _of_suites(
    names: tuple[str, ...], slug: str | None, dtype: str, precision: str, layout: str, *, compiled: bool
) -> "Report":
    from tunedb.model.layers import as_compiled
    from tunedb.model.report import report, variant
    from tunedb.suite import load_suite
    from tunedb.tune.selection import target

    entries = [entry for name in names for entry in variant(load_suite(name), dtype, precision, layout)]
    title = ", ".join(Path(name).name for name in names)
    asked = as_compiled(entries) if compiled else entries
    return report(asked, target(slug).device, title=title, compiled=compiled)


def _of_databases(db: Path | None, slug: str | None) -> "DatabaseReport":
    from tunedb.device import by_slug
    from tunedb.model.database_report import database_report
    from tunedb.store.files import databases

    found = database_report([db] if db else databases(slug), device=slug, title=db.name if db else "")
    if slug is not None and not found.totals.records:
        by_slug(slug)  # a name that is none is refused; a GPU that only the files know is none
    return found


def write_page(found: "Report | DatabaseReport", path: Path) -> None:
    """Write a report as a page, whole or not at all. Raises click.BadParameter: where that fails."""
    from tunedb.model.report_page import page
    from tunedb.suites.replace_file import replace_file

    data = page(found).encode()
    try:
        replace_file(path, data)
    except OSError as error:
        message = f"must be a file that can be written, but got {path}: {error.strerror}."
        raise click.BadParameter(message, param_hint="'--html'") from error
