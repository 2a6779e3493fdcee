"""Options that several commands share, and how failures reach the shell."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tunedb.cli import complete
from tunedb.cli.shapes import entry_from_shapes
from tunedb.errors import ConfigError, DeviceError, KernelError, ProblemError, SuiteError, TunedbError
from tunedb.problem import DTYPES, LAYOUTS, PRECISIONS
from tunedb.suite import Entry

__all__ = [
    "Commands",
    "DatabaseFile",
    "Number",
    "Whole",
    "database_option",
    "device_option",
    "entry_of",
    "gpus_option",
    "json_option",
    "minutes_option",
    "shape_options",
    "variant_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])
USAGE = (ConfigError, DeviceError, KernelError, ProblemError, SuiteError)  # another command line would do


class Refused(click.ClickException):
    """A command line that cannot work."""

    exit_code = 2


class Stopped(click.ClickException):
    """Ctrl-C; the status is the usual one, 128 and the signal."""

    exit_code = 130


class Commands(click.Group):
    """Ends a failure that tunedb explains with its message alone: status 2 for usage, 130 after Ctrl-C, 1 for the rest."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped("stopped by Ctrl-C.") from error
        except USAGE as error:
            raise Refused(str(error)) from error
        except TunedbError as error:
            raise click.ClickException(str(error)) from error


class Whole(click.IntRange):
    """A whole number from 1 on; a refusal says so, where click speaks of a range."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"must be a whole number of at least 1, but got {value!r}.", param, ctx)


class Number(click.FloatRange):
    """A finite number above 0; a refusal says so."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            found = super().convert(value, param, ctx)
        except click.BadParameter:
            found = math.nan
        if not math.isfinite(found):
            self.fail(f"must be a number above 0, but got {value!r}.", param, ctx)
        return found


class DatabaseFile(click.Path):
    """The path of a database, which may not exist yet."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type]  # path_type makes it a Path
        if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where the folder above may not be entered)
            self.fail(f"must be a file, but {path} is a folder: name a file in it.", param, ctx)
        return path


def listed(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return values that were joined by commas; none where the option is left out."""
    del ctx, param
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def shape_options(command: Command) -> Command:
    """Add --x, --w and what else makes a problem of two shapes."""
    for option in reversed((
        click.option("--x", metavar="NxCx…", help="Input shape with the batch first, as in 16x32x64x128; without a batch, as in 32x64x128."),
        click.option("--w", metavar="…", help="Weight shape in torch's order for the operation, as in 32x64x3x3."),
        click.option("--stride", default="1", show_default=True, metavar="S[xS…]", help="Stride: one number for every axis, or one for each, as in 2x1."),
        click.option("--padding", default="0", show_default=True, metavar="P[xP…]", help="Padding, likewise."),
        click.option("--output-padding", default="0", show_default=True, metavar="P[xP…]", help="Output padding of a transposed operation, likewise."),
        click.option("--dilation", default="1", show_default=True, metavar="D[xD…]", help="Dilation, likewise."),
        click.option("--groups", default=1, show_default=True, help="Groups of channels."),
        click.option("--bias", is_flag=True, help="The call has a bias."),
    )):  # fmt: skip
        command = option(command)
    return command


def variant_options(*, many: bool) -> Callable[[Command], Command]:
    """Add --dtype, --layout and --precision: one value each, or several joined by commas; left out, they are left to the suite."""
    plural, several = ("s", "; several are joined by commas") if many else ("", "")
    usual = ("float32,float16", "both") if many else ("float32", LAYOUTS[0])
    own = " Default: a captured layer's own, for others {}."

    def names(allowed: tuple[str, ...]) -> dict[str, Any]:
        return {"callback": listed, "metavar": "A,B,…"} if many else {"type": click.Choice(allowed)}

    def add(command: Command) -> Command:
        for option in reversed((
            click.option("--dtype", f"dtype{plural}", **names(DTYPES), shell_complete=complete.dtypes, help=f"float32, float16 or bfloat16{several}." + own.format(usual[0])),
            click.option("--layout", f"layout{plural}", **names(LAYOUTS), shell_complete=complete.layouts, help=f"channels_first or channels_last{several}." + own.format(usual[1])),
            click.option("--precision", type=click.Choice(PRECISIONS), help="How float32 is multiplied: tf32, or ieee for exact products." + own.format("tf32")),
        )):  # fmt: skip
            command = option(command)
        return command

    return add


def database_option(text: str) -> Callable[[Command], Command]:
    return click.option("--db", type=DatabaseFile(), metavar="FILE", help=text)


def device_option(text: str) -> Callable[[Command], Command]:
    return click.option("--device", metavar="SLUG", shell_complete=complete.devices, help=text)


def minutes_option(text: str, *, default: float | None = None) -> Callable[[Command], Command]:
    """Add --minutes, with what they bound."""
    return click.option(
        "--minutes", type=Number(), metavar="N", default=default, show_default=default is not None, help=text
    )


def json_option(text: str) -> Callable[[Command], Command]:
    """Add --json, with what it prints."""
    return click.option("--json", "as_data", is_flag=True, help=text)


def gpus_option(command: Command) -> Command:
    """Add --gpus: the GPUs that a sweep measures on."""
    text = "CUDA indices of the GPUs to measure on."
    return click.option("--gpus", default="all", show_default=True, metavar="all|0,1", help=text)(command)


def entry_of(op: str | None, shape: dict[str, Any]) -> Entry | None:
    """Return the problem that shape_options describe, or None where they were not given.

    Raises click.UsageError: where one of --x and --w, or the operation, is missing.
    """
    x, w, groups, bias = (shape.pop(name) for name in ("x", "w", "groups", "bias"))
    if x is None and w is None:
        return None
    if x is None or w is None or op in {None, "all"}:
        raise click.UsageError("a shape must have all of one operation, --x and --w.")
    return entry_from_shapes(str(op), x, w, shape, groups=groups, bias=bias)
