"""The command `tunedb`: each of its commands is a call of the library."""

import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

import click

from tunedb.cli.options import Commands, database_option, entry_of, shape_options, variant_options
from tunedb.errors import TunedbWarning

__all__ = ["main"]


@click.group(cls=Commands)
@click.version_option(package_name="tunedb")
def main() -> None:
    """Tuned convolution kernels: sweep for them, look at them, ask why one was chosen."""
    warnings.showwarning = _show_warning


@main.command()
@click.option("--kernel", "op", required=True, metavar="OP", help="conv1d … conv_transpose3d, or all.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    help="kernelbench, models or a JSON file; repeatable. Default: all that are shipped.",
)
@shape_options
@variant_options(many=True)
@click.option("--only", multiple=True, metavar="ID", help="Only this id of the suites; repeatable.")
@click.option("--n", "batch", type=int, help="Only problems of this batch size.")
@click.option(
    "--device",
    metavar="SLUG",
    help="GPU to tune for: measured if it is here, else predicted; h200-sm89 is an H200 running sm_89 code. Default: the one here, else 4090.",
)
@click.option("--gpus", default="all", show_default=True, metavar="all|0,1")
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Trials a problem; fewer where the space is smaller.",
)
@click.option(
    "--time-limit",
    "deadline_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Stop then as Ctrl-C does.",
)
@click.option(
    "--storage", metavar="FILE|URL", help="Optuna's search history. Default: a file beside the database."
)
@database_option("Database to write. Default: the user's own.")
@click.option(
    "--triton-db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the best answers that are not torch's own kernel here too.",
)
def sweep(
    op: str, suites: tuple[str, ...], only: tuple[str, ...], batch: int | None,
    dtypes: tuple[str, ...], layouts: tuple[str, ...], precision: str,
    device: str | None, gpus: str, trials: int, deadline_s: float | None, storage: str | None, db: Path | None,
    triton_db: Path | None, **shape: Any,
) -> None:  # fmt: skip
    """Search the best kernel and config for every problem and store the winners.

    A sweep that was ended goes on where it stopped; several at once on one storage share the work.
    """
    from tunedb.store.files import user_file
    from tunedb.tune.progress import progress_for
    from tunedb.tune.selection import add_suites, history_beside, select, target
    from tunedb.tune.settings import Settings
    from tunedb.tune.sweep import sweep

    chosen = select(
        op, suites, shape=entry_of(op, shape), only=only, batch=batch, dtypes=dtypes, layouts=layouts, precision=precision
    )  # fmt: skip
    goal, path = target(device, gpus), db or user_file()
    for file in filter(None, (path, triton_db)):
        add_suites(file, chosen.suites)
    settings = Settings(
        goal.device, goal.provenance, trials, storage or history_beside(path), path, goal.gpus, triton_db, deadline_s=deadline_s
    )  # fmt: skip
    summary = sweep(chosen.problems, settings, labels=chosen.labels, progress=progress_for())
    sys.exit(0 if summary.complete else 1)


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def ls(paths: tuple[Path, ...]) -> None:
    """Count the records of each database, device and operation, or of the files named."""
    from tunedb.store.files import databases
    from tunedb.store.listing import count, counts_table

    counts = count(paths or databases())
    click.echo(counts_table(counts) or "No records yet: `tunedb sweep --kernel conv2d` makes some.")


@main.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--op", help="Operation of --x and --w.")
@shape_options
@click.option("--device", metavar="SLUG", help="Only this device.")
@database_option("Only this file. Default: every database.")
def show(name: str | None, op: str | None, device: str | None, db: Path | None, **shape: Any) -> None:
    """Show the records of a layer, by its id in a suite or by its shape, with the best few of their sweeps."""
    from tunedb.store.listing import find, show, shown_text

    entry, paths = entry_of(op, shape), [db] if db else None
    if (name is None) == (entry is None):
        raise click.UsageError("show needs either an id, such as kb81, or --op, --x and --w.")
    layers = [entry.problem()] if entry else find(str(name), paths)
    found = [shown for layer in layers for shown in show(layer, paths, device)]
    click.echo("\n\n".join(map(shown_text, found)) or "No record of it.")


@main.command()
@click.option("--op", required=True, help="conv1d … conv_transpose3d.")
@shape_options
@variant_options(many=False)
@click.option("--device", metavar="SLUG", help="Default: the GPU here, else 4090.")
def explain(op: str, device: str | None, dtype: str, layout: str, precision: str, **shape: Any) -> None:
    """Say which tier answers a problem, from which record, why, and what it should cost."""
    from tunedb.dispatch.explanation import explain_problem
    from tunedb.tune.selection import select, target

    entry = entry_of(op, shape)
    if entry is None:
        raise click.UsageError("explain needs --x and --w.")
    chosen = select(op, shape=entry, dtypes=[dtype], layouts=[layout], precision=precision)
    click.echo(str(explain_problem(chosen.problems[0], target(device).device)))


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@database_option("Database to merge into. Default: the user's own.")
def merge(sources: tuple[Path, ...], db: Path | None) -> None:
    """Take over the better records of other databases; into a new file, to ship them."""
    from tunedb.store.files import user_file
    from tunedb.store.write import Store

    with Store(db or user_file()) as store:
        for source in sources:
            merged = store.merge(source)
            click.echo(f"{source}: {merged.taken} records taken, {merged.kept} known or better here")


@main.command()
@database_option("Database to prune. Default: the user's own.")
def prune(db: Path | None) -> None:
    """Remove the records of kernels whose code has changed since."""
    from tunedb.store.files import user_file
    from tunedb.store.write import Store

    with Store(db or user_file()) as store:
        click.echo(f"{store.path}: {store.prune_stale()} stale records removed")


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
