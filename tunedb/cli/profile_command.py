"""The command `tunedb profile`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tunedb.cli import complete
from tunedb.cli.options import database_option, json_option, variant_options
from tunedb.describe import counted, table

__all__ = ["profile"]


@click.command()
@click.argument("name", metavar="[ID]", required=False, shell_complete=complete.ids)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete.suites,
    help="Profile every layer of this suite, or its layer ID: kernelbench, models or a JSON file; repeatable.",
)
@variant_options(many=True)
@database_option("Database whose records are profiled, and which keeps the counters. Default: what answers is profiled, your user database keeps them.")  # fmt: skip
@json_option("Print a JSON array, an object for each layer.")
def profile(
    name: str | None, suites: tuple[str, ...], dtypes: tuple[str, ...], layouts: tuple[str, ...], precision: str | None,
    db: Path | None, as_data: bool,
) -> None:  # fmt: skip
    """Say what limits the winners of layers.

    NVIDIA's Nsight Compute (ncu) reads the counters of this machine's first GPU while the winner of each layer is called once: how busy
    multiprocessors, memory and L2 are, how many warps are resident, what is found in L2. They are kept beside the record, where
    show, explain and report find them.

    The exit status is 1 if a layer could not be profiled.
    """
    from tunedb.store.files import user_file
    from tunedb.tune import profile as counting
    from tunedb.tune.selection import select, target

    if name is None and not suites:
        raise click.UsageError("profile needs an id, such as kb81, or --suite.")
    chosen = select("all", suites, only=[name] if name else [], dtypes=dtypes, layouts=layouts, precision=precision)  # fmt: skip
    device, gpu = counting.gpu_here(target(None, "all"))
    found = counting.winners(chosen.problems, device, db)
    click.echo(f"{counted(len(found), 'winner')} on {device.slug}", err=as_data)
    done = list(counting.profile(found, db or user_file(), gpu))
    click.echo(_said(done, chosen.labels, device.sm_count, as_data=as_data))
    sys.exit(int(any(counters is None for _, counters in done)))


def _said(done: Sequence[tuple[Any, Any]], labels: Mapping[Any, str], sm_count: int, *, as_data: bool) -> str:
    """Return what was counted as JSON, or as a table with a line for each layer."""
    from tunedb.cli.json_forms import of_profile
    from tunedb.store.profile import limit

    if as_data:
        return json.dumps([of_profile(labels[record.problem], record, one, sm_count) for record, one in done], indent=1)  # fmt: skip
    rows = [
        (labels[record.problem], record.kernel, "it could not be called" if one is None else limit(one.longest, sm_count))
        for record, one in done
    ]  # fmt: skip
    return table(("layer", "kernel", "its longest launch is"), rows)
