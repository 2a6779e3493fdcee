"""The command `tunedb`: each of its commands is a call of the library."""

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

import click

from tunedb.cli.options import (
    Commands,
    database_option,
    entry_of,
    gpus_option,
    shape_options,
    variant_options,
)
from tunedb.cli.report_command import report
from tunedb.cli.tune_command import tune
from tunedb.errors import TunedbWarning

__all__ = ["main"]

_LONGEST_START_S = 60.0


@click.group(cls=Commands)
@click.version_option(package_name="tunedb")
def main() -> None:
    """Tune convolution kernels, look at the results, and ask why a kernel was chosen."""
    warnings.showwarning = _show_warning


main.add_command(report)
main.add_command(tune)


@main.command()
@click.option(
    "--op",
    "--kernel",
    "op",
    default="all",
    show_default=True,
    metavar="OP",
    help="Operation to tune: conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d or all.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    help="Suite to tune: kernelbench, models or a JSON file; repeatable. Default: every suite that comes with tunedb.",
)
@shape_options
@variant_options(many=True)
@click.option("--only", multiple=True, metavar="ID", help="Tune only the layer with this id; repeatable.")
@click.option("--n", "batch", type=int, help="Tune only problems of this batch size.")
@click.option(
    "--device",
    metavar="SLUG",
    help="GPU to tune for, such as 4090. Times are measured if this machine has that GPU, else predicted. h200-sm89 is an H200 that runs sm_89 code. Default: the GPU of this machine, else 4090.",
)
@gpus_option
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Search for so long in all, first the layers that can still save most of a forward pass: calls x (time so far - hardware floor).",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Configs to try for each problem, 40 by default; fewer where the search space is smaller. With --minutes: at most, 200 by default.",
)
@click.option(
    "--time-limit",
    "deadline_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Stop after this time, as Ctrl-C does; the next sweep resumes there.",
)
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Search history: an Optuna journal file or a database URL. Sweeps that share one share the work. Default: a file beside the database.",
)
@click.option(
    "--collect",
    is_flag=True,
    help="Search nothing: write the answers that the history has so far, of any sweep, to the database.",
)
@database_option("Database to write the results to. Default: your user database.")
@click.option(
    "--triton-db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the best Triton result of each problem to this second database, even where torch's own kernel won.",
)
def sweep(
    op: str, suites: tuple[str, ...], only: tuple[str, ...], batch: int | None,
    dtypes: tuple[str, ...], layouts: tuple[str, ...], precision: str | None,
    device: str | None, gpus: str, minutes: float | None, trials: int | None, deadline_s: float | None, storage: str | None, collect: bool, db: Path | None,
    triton_db: Path | None, **shape: Any,
) -> None:  # fmt: skip
    """Search for the fastest kernel of every problem.

    The best config of each problem becomes a record in the database.

    A stopped sweep resumes where it stopped. Sweeps that share one storage share the work.
    The exit status is 1 if a problem has no result; with --minutes only if one failed or none could be timed.
    """
    from tunedb.store.files import user_file
    from tunedb.tune.progress import progress_for
    from tunedb.tune.selection import add_suites, history_beside, select, target
    from tunedb.tune.settings import Settings
    from tunedb.tune.sweep import sweep

    chosen = select(op, suites, shape=entry_of(op, shape), only=only, batch=batch, dtypes=dtypes, layouts=layouts, precision=precision)  # fmt: skip
    goal, path = target(device, gpus), db or user_file()
    for file in filter(None, (path, triton_db)):
        add_suites(file, chosen.suites)
    settings = Settings(
        goal.device, goal.provenance, trials, storage or history_beside(path), path, goal.gpus, triton_db, deadline_s=deadline_s,
        minutes=minutes and max(0.001, minutes - _age_s() / 60), calls=chosen.calls, collect=collect,
    )  # fmt: skip
    summary = sweep(chosen.problems, settings, labels=chosen.labels, progress=progress_for())
    sys.exit(0 if summary.complete else 1)


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def ls(paths: tuple[Path, ...]) -> None:
    """Count the records by database, device and operation.

    Without PATHS it counts those of every database in use.
    """
    from tunedb.store.files import databases
    from tunedb.store.listing import count, counts_table

    counts = count(paths or databases())
    click.echo(counts_table(counts) or "No records yet: `tunedb sweep --kernel conv2d` makes some.")


@main.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--op", metavar="OP", help="Operation of the shape that --x and --w give.")
@shape_options
@click.option("--device", metavar="SLUG", help="Show only records of this device.")
@database_option("Read only this database. Default: every database in use.")
def show(name: str | None, op: str | None, device: str | None, db: Path | None, **shape: Any) -> None:
    """Show the records of a layer.

    Each comes with the best configs of its sweep.

    Name the layer by its ID in a suite, such as kb81, or by --op, --x and --w.
    """
    from tunedb.store.listing import find, show, shown_text

    entry, paths = entry_of(op, shape), [db] if db else None
    if (name is None) == (entry is None):
        raise click.UsageError("show needs either an id, such as kb81, or --op, --x and --w.")
    layers = [entry.problem()] if entry else find(str(name), paths)
    found = [shown for layer in layers for shown in show(layer, paths, device)]
    click.echo("\n\n".join(map(shown_text, found)) or "No record of it.")


@main.command()
@click.option("--op", required=True, metavar="OP", help="Operation: conv1d … conv_transpose3d.")
@shape_options
@variant_options(many=False)
@click.option(
    "--device", metavar="SLUG", help="GPU to answer for. Default: the GPU of this machine, else 4090."
)
def explain(op: str, device: str | None, dtype: str, layout: str, precision: str, **shape: Any) -> None:
    """Say which kernel answers a call, and why.

    It names the tier, the record, the reason and the time to expect.
    """
    from tunedb.dispatch.explanation import explain_problem
    from tunedb.tune.selection import select, target

    entry = entry_of(op, shape)
    if entry is None:
        raise click.UsageError("explain needs --x and --w.")
    chosen = select(op, shape=entry, dtypes=[dtype], layouts=[layout], precision=precision)
    click.echo(str(explain_problem(chosen.problems[0], target(device).device)))


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@database_option("Database to merge into; made if it does not exist. Default: your user database.")
def merge(sources: tuple[Path, ...], db: Path | None) -> None:
    """Copy the better records of other databases.

    A record of SOURCES is copied where the database has none of its problem and device, or a worse one.
    """
    from tunedb.store.files import user_file
    from tunedb.store.write import Store

    with Store(db or user_file()) as store:
        for source in sources:
            merged = store.merge(source)
            click.echo(f"{source}: {merged.taken} records taken, {merged.kept} known or better here")


@main.command()
@database_option("Database to prune. Default: your user database.")
def prune(db: Path | None) -> None:
    """Remove stale records.

    A record is stale if the code of its kernel has changed since it was tuned.
    """
    from tunedb.store.files import user_file
    from tunedb.store.write import Store

    with Store(db or user_file()) as store:
        click.echo(f"{store.path}: {store.prune_stale()} stale records removed")


def _age_s() -> float:
    """Return the seconds since this process began, 0 where that is not known or where it is not the command's own.

    To import torch takes a few of them, and the minutes that a person gives are those of the whole command.
    """
    try:
        fields = (
            Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return 0.0
    return age if Path(sys.argv[0]).stem == "tunedb" and 0 < age < _LONGEST_START_S else 0.0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line
    # What tunedb says itself needs no line of its source.
    own = issubclass(category, TunedbWarning)
    click.echo(str(message) if own else f"{filename}:{lineno}: {category.__name__}: {message}", err=True)
