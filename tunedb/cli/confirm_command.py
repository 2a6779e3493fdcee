"""The command `tunedb confirm`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from tunedb.cli import complete
from tunedb.cli.options import Whole, database_option, device_option, gpus_option, json_option, minutes_option
from tunedb.cli.process import minutes_left, stdout_to_stderr

__all__ = ["confirm"]


@click.command()
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete.suites,
    help="Confirm only what this suite uses: kernelbench, models or a JSON file, such as a captured model; repeatable. Default: every problem of the database.",
)
@minutes_option("Stop after so long; the same command goes on with what is not yet confirmed.")
@click.option(
    "--candidates",
    type=Whole(),
    metavar="N",
    default=5,
    show_default=True,
    help="Stored candidates to time again for each problem, the best first.",
)
@device_option("GPU of this machine to confirm for. Default: the GPU of this machine.")
@gpus_option
@database_option(
    "Database whose problems are confirmed; it is only read, unless it is your own. Default: what answers on the GPU, your database and the shipped one."
)
@json_option("Print what came of it as one JSON object; what is said meanwhile goes to standard error.")
def confirm(
    suites: tuple[str, ...], minutes: float | None, candidates: int, device: str | None, gpus: str, db: Path | None, as_data: bool
) -> None:  # fmt: skip
    """Time the stored candidates again on this machine.

    Each is verified and timed beside torch, and what wins becomes a measured record in your database. Run it where records
    are predicted, and after an upgrade of Triton, torch or driver.

    A stopped run goes on where it stopped. The exit status is 1 if a problem failed.
    """
    from tunedb.store.files import user_file
    from tunedb.tune.selection import select, target
    from tunedb.tune.settings import Settings

    chosen = select("all", suites) if suites else None
    asked = {} if chosen is None else {"problems": chosen.problems, "labels": chosen.labels}
    goal = target(device, gpus)
    settings = Settings(
        goal.device, goal.provenance, None, "", user_file(), goal.gpus,
        minutes=minutes_left(minutes), calls=chosen and chosen.calls,
    )  # fmt: skip
    sys.exit(_confirmed(settings, {"db": db, "candidates": candidates, **asked}, as_data=as_data))


def _confirmed(settings: Any, asked: dict[str, Any], *, as_data: bool) -> int:
    """Confirm, and return the exit status."""
    from tunedb.cli.json_forms import of_confirmed
    from tunedb.tune import confirm as tuning
    from tunedb.tune.progress import progress_for

    if not as_data:
        return tuning.confirm(settings, **asked, progress=progress_for()).exit_status
    with stdout_to_stderr():
        result = tuning.confirm(settings, **asked, progress=progress_for(sys.stderr))
    click.echo(json.dumps(of_confirmed(result, settings), indent=1))
    return result.exit_status
