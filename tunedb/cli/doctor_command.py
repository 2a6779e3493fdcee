"""The command `tunedb doctor`."""

import json
import sys
from typing import TYPE_CHECKING

import click

from tunedb.cli.options import json_option
from tunedb.describe import counted

if TYPE_CHECKING:
    from tunedb.cli.health import FileState, Health

__all__ = ["doctor"]


@click.command()
@json_option("Print one JSON object.")
def doctor(as_data: bool) -> None:
    """Say what tunedb finds on this machine, and what is wrong with it.

    It looks at versions, GPUs, the databases in their order, Triton's cache and environment variables. The exit status is 1 if
    something is wrong; each such thing has its remedy.
    """
    from tunedb.cli.health import examine

    found = examine()
    click.echo(json.dumps(found.as_json(), indent=1) if as_data else _text(found))
    sys.exit(1 if found.wrong else 0)


def _text(found: "Health") -> str:
    gpus = [
        f"GPU {gpu.cuda_index}: {gpu.slug} ({gpu.name})" + ("" if gpu.catalogued else ", not in the catalogue: its rates are guessed")
        for gpu in found.gpus
    ] or [f"none: {found.why_no_gpu}; times for any GPU can be predicted"]  # fmt: skip
    blocks = {
        "Versions": [f"{name} {version or '-'}" for name, version in found.versions.items()],
        "GPUs": gpus,
        "Databases, the one that answers first in front": [_file(file) for file in found.files],
        "Triton's cache": [f"{found.triton_cache}, {'can' if found.triton_cache_writable else 'CANNOT'} be written"],
        "Environment": [f"{name}={value}" for name, value in found.variables.items()] or ["nothing is set"],
        "To note": found.notes,
        "Wrong": found.wrong or ["nothing"],
    }  # fmt: skip
    return "\n".join("\n  ".join([f"{head}:", *lines]) for head, lines in blocks.items() if lines)


def _file(file: "FileState") -> str:
    origin = "comes with tunedb" if file.shipped else "yours"
    if not file.exists:
        made = "a sweep makes it" if file.writable else "and it cannot be made"
        return f"{file.path}: {origin}, not there yet, {made}"
    if not file.readable:
        return f"{file.path}: {origin}, CANNOT be read"
    writable = "can be written" if file.writable else "read only"
    return f"{file.path}: {origin}, {counted(file.records, 'record')}, {file.stale} stale, {writable}"
