"""The command `tunedb`: each of its commands is a call of the library, which it imports when it runs."""

import warnings
from typing import TextIO

import click

from tunedb.cli.confirm_command import confirm
from tunedb.cli.doctor_command import doctor
from tunedb.cli.explain_command import explain
from tunedb.cli.ls_command import ls
from tunedb.cli.merge_command import merge, prune
from tunedb.cli.options import Commands
from tunedb.cli.profile_command import profile
from tunedb.cli.report_command import report
from tunedb.cli.show_command import show
from tunedb.cli.sweep_command import sweep
from tunedb.cli.tune_command import tune
from tunedb.errors import TunedbWarning

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tunedb")
def main() -> None:
    """Tune convolution kernels, look at the results, and ask why a kernel was chosen."""
    warnings.showwarning = _show_warning


for command in (confirm, doctor, explain, ls, merge, profile, prune, report, show, sweep, tune):
    main.add_command(command)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line
    # What tunedb says itself needs no line of its source.
    own = issubclass(category, TunedbWarning)
    click.echo(str(message) if own else f"{filename}:{lineno}: {category.__name__}: {message}", err=True)
