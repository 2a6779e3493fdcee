"""Options that several commands share, and how failures reach the shell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tunedb.cli.shapes import entry_from_shapes
from tunedb.errors import ConfigError, DeviceError, KernelError, ProblemError, SuiteError, TunedbError
from tunedb.problem import LAYOUTS, PRECISIONS
from tunedb.suite import Entry

__all__ = ["Commands", "database_option", "entry_of", "gpus_option", "shape_options", "variant_options"]

Command = TypeVar("Command", bound=Callable[..., Any])
USAGE = (ConfigError, DeviceError, KernelError, ProblemError, SuiteError)  # another command line would do


class Refused(click.ClickException):
    """A command line that cannot work."""

    exit_code = 2


class Commands(click.Group):
    """Ends a failure that tunedb explains with its message alone: status 2 for usage, 1 for the rest."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except USAGE as error:
            raise Refused(str(error)) from error
        except TunedbError as error:
            raise click.ClickException(str(error)) from error


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
    """Add --dtype, --layout and --precision: one value each, or several, which are left to the suite by default."""
    plural, several, own = ("", "", "")
    each: dict[str, Any] = {"show_default": True}
    if many:
        plural, several = "s", "; several are joined by commas"
        own = " Default: a captured layer's own, for others {}."
        each = {"callback": listed, "metavar": "A,B,…"}

    def text(what: str, default: str) -> str:
        return f"{what}{several}.{own.format(default)}"

    def default(value: str) -> str | None:
        return None if many else value

    def add(command: Command) -> Command:
        for option in reversed((
            click.option("--dtype", f"dtype{plural}", **each, default=default("float32"), help=text("float32, float16 or bfloat16", "float32,float16")),
            click.option("--layout", f"layout{plural}", **each, default=default(LAYOUTS[0]), help=text("channels_first or channels_last", "both")),
            click.option("--precision", type=click.Choice(PRECISIONS), default=default("tf32"), show_default=not many, help="How float32 is multiplied: tf32, or ieee for exact products." + own.format("tf32")),
        )):  # fmt: skip
            command = option(command)
        return command

    return add


def database_option(text: str) -> Callable[[Command], Command]:
    return click.option("--db", type=click.Path(path_type=Path), help=text)


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
