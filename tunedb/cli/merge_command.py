"""The commands `tunedb merge` and `tunedb prune`, which change databases."""

from pathlib import Path

import click

from tunedb.cli.options import DatabaseFile, database_option
from tunedb.describe import counted

__all__ = ["merge", "prune"]


@click.command()
@click.argument("sources", nargs=-1, required=True, type=DatabaseFile(), metavar="SOURCES...")
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
            click.echo(
                f"{source}: {counted(merged.taken, 'record')} taken, {merged.kept} known or better here"
            )


@click.command()
@database_option("Database to prune. Default: your user database.")
def prune(db: Path | None) -> None:
    """Remove stale records.

    A record is stale if the code of its kernel has changed since it was tuned.
    """
    from tunedb.errors import DatabaseError
    from tunedb.store.failures import is_file
    from tunedb.store.files import user_file
    from tunedb.store.write import Store

    path = db or user_file()
    if not is_file(path):  # to open it for writing would make it
        raise DatabaseError(f"a database to prune must exist, but there is none at {path}: correct the path.")
    with Store(path) as store:
        click.echo(f"{store.path}: {counted(store.prune_stale(), 'stale record')} removed")
