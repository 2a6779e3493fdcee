"""The command `tunedb show`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunedb.cli import complete
from tunedb.cli.options import database_option, device_option, entry_of, json_option, shape_options
from tunedb.problem import DTYPES, LAYOUTS

if TYPE_CHECKING:
    from tunedb.record import Record
    from tunedb.store.listing import Shown

__all__ = ["show"]

# What a record can be asked for, and where it says so.
_FILTERS: dict[str, "Callable[[Record], str]"] = {
    "device": lambda record: record.device,
    "dtype": lambda record: record.problem.dtype,
    "layout": lambda record: record.problem.layout,
}


@click.command()
@click.argument("name", metavar="[ID]", required=False, shell_complete=complete.ids)
@click.option(
    "--op", metavar="OP", shell_complete=complete.operations, help="Operation of the shape that --x and --w give."
)  # fmt: skip
@shape_options
@device_option("Show only records of this device.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Show only records of this dtype.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Show only records of this layout.")
@database_option("Read only this database. Default: every database in use.")
@json_option("Print a JSON array, an object for each record with its candidates.")
def show(
    name: str | None, op: str | None, device: str | None, dtype: str | None, layout: str | None,
    db: Path | None, as_data: bool, **shape: Any,
) -> None:  # fmt: skip
    """Show the records of a layer.

    Each comes with the best configs of its sweep. The exit status is 1 if there is none.

    Name the layer by its ID in a suite, such as kb81, or by --op, --x and --w.
    """
    from tunedb.cli.json_forms import of_shown
    from tunedb.store.listing import find, show, shown_text

    entry, paths = entry_of(op, shape), [db] if db else None
    if (name is None) == (entry is None):
        raise click.UsageError("show needs either an id, such as kb81, or --op, --x and --w.")
    layers = [entry.problem()] if entry else find(str(name), paths)
    every = [shown for layer in layers for shown in show(layer, paths)]
    found = _asked(every, {"device": device, "dtype": dtype, "layout": layout})
    click.echo(json.dumps([of_shown(one) for one in found], indent=1) if as_data else "\n\n".join(map(shown_text, found)))  # fmt: skip


def _asked(every: "Sequence[Shown]", filters: dict[str, str | None]) -> "list[Shown]":
    """Return the records that pass all filters. Raises click.ClickException: where none does, with those that exist."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    found = [one for one in every if all(_FILTERS[name](one.record) == value for name, value in wanted.items())]  # fmt: skip
    if found:
        return found
    if not every:
        raise click.ClickException("No record of it: `tunedb sweep` makes one.")
    kinds = sorted({", ".join(_FILTERS[name](one.record) for name in wanted) for one in every})
    raise click.ClickException(
        f"No record of it with {', '.join(f'{name} {value}' for name, value in wanted.items())}. There are records with {', '.join(wanted)}: {'; '.join(kinds)}."
    )
