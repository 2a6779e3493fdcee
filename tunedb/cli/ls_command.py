"""The command `tunedb ls`."""

import json
from pathlib import Path

import click

from tunedb.cli.options import DatabaseFile, json_option

__all__ = ["ls"]


@click.command()
@click.argument("paths", nargs=-1, type=DatabaseFile(), metavar="[PATHS]...")
@json_option("Print a JSON array, an object for each line of the table.")
def ls(paths: tuple[Path, ...], as_data: bool) -> None:
    """Count the records by database, device and operation.

    Without PATHS it counts those of every database in use.
    """
    from tunedb.cli.json_forms import of_count
    from tunedb.store.files import databases
    from tunedb.store.listing import count, counts_table

    counts = count(paths or databases())
    if as_data:
        click.echo(json.dumps([of_count(one) for one in counts], indent=1))
    else:
        click.echo(counts_table(counts) or "No records yet: `tunedb sweep --kernel conv2d` makes some.")
