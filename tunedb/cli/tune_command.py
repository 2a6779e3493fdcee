"""The command `tunedb tune`: from the factory of a model to its report."""

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunedb.cli.options import database_option, device_option, gpus_option, minutes_option
from tunedb.errors import ProblemError, quoted

if TYPE_CHECKING:
    from tunedb.model.report import Report

__all__ = ["tune"]


@click.command()
@click.argument("factory", metavar="MODULE:FACTORY")
@minutes_option("Search for so long: the layers with the most time to win first.", default=5.0)
@click.option(
    "--compiled",
    is_flag=True,
    help="Tune the layers as torch.compile runs them: two-dimensional ones in channels_last.",
)
@device_option("GPU to tune for. Default: the GPU of this machine, else 4090, predicted.")
@gpus_option
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the captured suite to this JSON file.",
)
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write the report as one HTML page."
)
@database_option("Database to write the results to, one that calls read. Default: your user database.")
def tune(
    factory: str,
    minutes: float,
    compiled: bool,
    device: str | None,
    gpus: str,
    save: Path | None,
    html: Path | None,
    db: Path | None,
) -> None:
    """Capture a model, sweep its layers, and report what that gives.

    MODULE:FACTORY names a function without arguments that returns the model and its inputs: (model, x), (model, (x, y)) or
    (model, {"name": x}). The module is looked for in this folder too.
    """
    click.echo(f"Capturing {factory} …")
    from tunedb.model.report import report
    from tunedb.model.tune_model import capture_model, tune_layers
    from tunedb.tune.progress import progress_for

    model, inputs, named = made(factory)
    layers = capture_model(model, inputs, named)
    if compiled:
        layers = layers.compiled()
    if save is not None:
        layers.save(save)
    summary, goal = tune_layers(
        layers, minutes=minutes, db=db, device=device, gpus=gpus, progress=progress_for()
    )
    _say(report(layers.entries, goal, title=factory, compiled=compiled), html)
    stopped = summary.exit_status > 128  # by a signal
    sys.exit(summary.exit_status if stopped else 0 if summary.records else 1)


def _say(found: "Report", html: Path | None) -> None:
    from tunedb.cli.report_command import write_page
    from tunedb.model.report_table import report_text

    click.echo(report_text(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    if html is not None:
        write_page(found, html)


def made(factory: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return a factory's model and its inputs by position and by name.

    Raises ProblemError: where there is no such function, or where it gives something else.
    """
    name, _, attribute = factory.partition(":")
    if not attribute or not all(part.isidentifier() for part in name.split(".")):
        raise ProblemError(
            f"a factory must be named MODULE:FACTORY, as in mypackage.models:make_unet, but got {quoted(factory)}."
        )
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 (sys.path holds text)
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports is missing: its own traceback says what
        raise ProblemError(
            f"a factory's module must be importable from this folder or be installed, but there is no {error.name}."
        ) from error
    if not callable(function := getattr(module, attribute, None)):
        raise ProblemError(f"{name} must have the function {attribute}, but has not.")
    given = function()
    if not isinstance(given, tuple) or len(given) != 2 or not callable(given[0]):
        raise ProblemError(
            f"{factory} must return a model and its inputs, (model, x), but returned {type(given).__name__}."
        )
    model, inputs = given
    if isinstance(inputs, dict):
        return model, (), inputs
    return model, inputs if isinstance(inputs, tuple) else (inputs,), {}
