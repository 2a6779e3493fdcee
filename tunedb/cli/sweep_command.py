"""The command `tunedb sweep`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from tunedb.cli import complete
from tunedb.cli.options import (
    DatabaseFile,
    Number,
    Whole,
    database_option,
    device_option,
    entry_of,
    gpus_option,
    json_option,
    minutes_option,
    shape_options,
    variant_options,
)
from tunedb.cli.process import minutes_left, stdout_to_stderr
from tunedb.describe import counted

__all__ = ["sweep"]


@click.command()
@click.option(
    "--op",
    "--kernel",
    "op",
    default="all",
    show_default=True,
    metavar="OP",
    shell_complete=complete.operations_or_all,
    help="Operation to tune: conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d or all.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete.suites,
    help="Suite to tune: kernelbench, models or a JSON file; repeatable. Default: every suite that comes with tunedb.",
)
@shape_options
@variant_options(many=True)
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    shell_complete=complete.ids,
    help="Tune only the layer with this id; repeatable.",
)
@click.option("--n", "batch", type=int, help="Tune only problems of this batch size.")
@device_option(
    "GPU to tune for, such as 4090. Times are measured if this machine has that GPU, else predicted. h200-sm89 is an H200 that runs sm_89 code. Default: the GPU of this machine, else 4090."
)
@gpus_option
@minutes_option(
    "Search for so long in all, first the layers that can still save most of a forward pass: calls x (time so far - hardware floor)."
)
@click.option(
    "--trials",
    type=Whole(),
    metavar="N",
    help="Configs to try for each problem, 40 by default; fewer where the search space is smaller. With --minutes: at most, 200 by default.",
)
@click.option(
    "--time-limit",
    "deadline_s",
    type=Number(),
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
    type=DatabaseFile(),
    metavar="FILE",
    help="Also write the best Triton result of each problem to this second database, even where torch's own kernel won.",
)
@json_option(
    "Print what the sweep came to as one JSON object; what it says meanwhile goes to standard error."
)
def sweep(
    op: str, suites: tuple[str, ...], only: tuple[str, ...], batch: int | None,
    dtypes: tuple[str, ...], layouts: tuple[str, ...], precision: str | None,
    device: str | None, gpus: str, minutes: float | None, trials: int | None, deadline_s: float | None, storage: str | None, collect: bool, db: Path | None,
    triton_db: Path | None, as_data: bool, **shape: Any,
) -> None:  # fmt: skip
    """Search for the fastest kernel of every problem.

    The best config of each problem becomes a record in the database.

    A stopped sweep resumes where it stopped. Sweeps that share one storage share the work.
    The exit status is 1 if a problem has no result; with --minutes only if one failed or none could be timed.
    """
    from tunedb.store.files import user_file
    from tunedb.tune.selection import add_suites, history_beside, select, target
    from tunedb.tune.settings import Settings

    chosen = select(op, suites, shape=entry_of(op, shape), only=only, batch=batch, dtypes=dtypes, layouts=layouts, precision=precision)  # fmt: skip
    # Before torch is imported, which takes seconds.
    click.echo(f"Sweeping {counted(len(chosen.problems), 'problem')}; looking for a GPU …", err=as_data)
    goal, path = target(device, gpus), db or user_file()
    for file in filter(None, (path, triton_db)):
        add_suites(file, chosen.suites)
    settings = Settings(
        goal.device, goal.provenance, trials, storage or history_beside(path), path, goal.gpus, triton_db, deadline_s=deadline_s,
        minutes=minutes_left(minutes), calls=chosen.calls, collect=collect,
    )  # fmt: skip
    sys.exit(_swept(chosen, settings, as_data=as_data))


def _swept(chosen: Any, settings: Any, *, as_data: bool) -> int:
    """Sweep, and return the exit status."""
    from tunedb.cli.json_forms import of_summary
    from tunedb.tune.progress import progress_for
    from tunedb.tune.sweep import sweep

    if not as_data:
        return sweep(chosen.problems, settings, labels=chosen.labels, progress=progress_for()).exit_status
    with stdout_to_stderr():
        summary = sweep(chosen.problems, settings, labels=chosen.labels, progress=progress_for(sys.stderr))
    click.echo(json.dumps(of_summary(summary, settings), indent=1))
    return summary.exit_status
