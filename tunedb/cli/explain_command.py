"""The command `tunedb explain`."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunedb.cli import complete
from tunedb.cli.answering_first import answering_first
from tunedb.cli.options import (
    database_option,
    device_option,
    entry_of,
    json_option,
    shape_options,
    variant_options,
)
from tunedb.describe import counted, describe, micros, table

if TYPE_CHECKING:
    from tunedb.dispatch.explanation import Explanation
    from tunedb.problem import Problem
    from tunedb.suite import Entry

__all__ = ["explain"]


@click.command()
@click.argument("name", metavar="[ID]", required=False, shell_complete=complete.ids)
@click.option(
    "--suite",
    metavar="NAME|FILE",
    shell_complete=complete.suites,
    help="Answer for every layer of this suite, or for its layer ID: kernelbench, models or a JSON file.",
)
@click.option(
    "--op", metavar="OP", shell_complete=complete.operations, help="Operation: conv1d … conv_transpose3d."
)
@shape_options
@variant_options(many=False)
@device_option("GPU to answer for. Default: the GPU of this machine, else 4090.")
@database_option("Database that answers before those in use.")
@json_option("Print a JSON array, an object for each layer.")
def explain(
    name: str | None, suite: str | None, op: str | None, device: str | None, db: Path | None,
    dtype: str | None, layout: str | None, precision: str | None, as_data: bool, **shape: Any,
) -> None:  # fmt: skip
    """Say which kernel answers a call, and why.

    It names the tier, the record, the reason and the time to expect. Of a whole suite it prints a line for each layer.

    Name the layer by its ID in a suite, such as kb81, or by --op, --x and --w.
    """
    from tunedb.cli.json_forms import of_explanation
    from tunedb.dispatch.explanation import explain_problem
    from tunedb.tune.selection import target

    entry = entry_of(op, shape)
    if (entry is None) == (name is None and suite is None) or (op and entry is None):
        raise click.UsageError("explain needs an id, such as kb81, or --suite, or else --op, --x and --w.")
    asked = _asked([entry] if entry else _layers(name, suite, db), dtype, layout, precision)
    goal = target(device).device
    with answering_first(db):
        found = [(label, explain_problem(problem, goal)) for label, problem in asked]
    if as_data:
        click.echo(json.dumps([of_explanation(label, one) for label, one in found], indent=1))
    elif suite is not None and name is None:
        click.echo(_table(found))
    else:
        click.echo("\n\n".join(str(one) for _, one in found))


def _layers(name: str | None, suite: str | None, db: Path | None) -> "list[Entry]":
    """Return the layers of a suite, or those of an id in it, in the suites that come with tunedb or in the databases' own.

    Raises SuiteError: where there is none.
    """
    from tunedb.errors import SuiteError, printable, quoted
    from tunedb.store.files import databases
    from tunedb.store.listing import find
    from tunedb.suite import load_suite, shipped_suites

    named = [suite] if suite else shipped_suites()
    found = [entry for one in named for entry in load_suite(one) if name in {None, entry.id}]
    if not found and suite:
        raise SuiteError(f"an id must stand in the suite {printable(str(suite))}, but got {quoted(name)}.")
    if not found:
        found = [
            _entry(str(name), problem) for problem in find(str(name), [*([db] if db else []), *databases()])
        ]
    return found


def _entry(name: str, problem: "Problem") -> "Entry":
    """Return the sizes that a database knows under an id as an entry of a suite."""
    from tunedb.suite import Entry

    lead = 3 - problem.rank
    return Entry(
        id=name, line=0, op=problem.op, n=problem.n, c_in=problem.c_in, spatial_in=problem.extents[lead:], c_out=problem.c_out,
        kernel=problem.kernel[lead:], stride=problem.stride[lead:], padding=problem.padding[lead:],
        output_padding=problem.output_padding[lead:], dilation=problem.dilation[lead:], groups=problem.groups, bias=bool(problem.bias),
    )  # fmt: skip


def _asked(
    entries: "Sequence[Entry]", dtype: str | None, layout: str | None, precision: str | None
) -> "dict[tuple[str, Problem], None]":
    """Return each layer in one dtype and layout: those asked for, else its own, else float32 and channels_first.

    Raises ProblemError: where no layer has that layout.
    """
    from tunedb.errors import ProblemError
    from tunedb.suite import problems

    found: dict[tuple[str, Problem], None] = {}
    for entry in entries:
        dtypes, layouts = [dtype or entry.dtype or "float32"], [layout or entry.layout or "channels_first"]
        found |= {(entry.id, one): None for one in problems([entry], dtypes, layouts, precision)}
    if not found:
        raise ProblemError(
            "layout must apply to a layer, but channels_last is for two and three dimensions only."
        )
    return found


def _table(found: "Sequence[tuple[str, Explanation]]") -> str:
    heads = ("layer", "tier", "kernel", "expects", "floor", "what is asked")
    rows = [
        (
            label,
            one.answer.tier,
            one.answer.kernel,
            micros(one.expected_us),
            micros(one.floor_us),
            describe(one.problem),
        )
        for label, one in found
    ]
    tiers = Counter(one.answer.tier for _, one in found)
    counts = ", ".join(f"{number} {tier}" for tier, number in tiers.most_common())
    device = found[0][1].device
    return f"{table(heads, rows)}\n\n{counted(len(rows), 'layer')} on {device.slug} ({device.name}): {counts}"
