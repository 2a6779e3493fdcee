"""What the shell offers when a word of the command line is completed: names that tunedb knows, read without torch."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

__all__ = ["devices", "dtypes", "ids", "layouts", "operations", "operations_or_all", "suites"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def devices(_context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    """Offer the GPUs of the catalogue, and once a name is typed its older generations' code too."""
    from tunedb.device import ARCHES, CATALOGUE

    known = [CompletionItem(one.slug, help=one.name) for one in CATALOGUE]
    for one in CATALOGUE:
        if word.startswith(f"{one.slug}-"):
            older = [arch for arch in ARCHES if int(arch[2:]) < one.capability]
            known += [
                CompletionItem(f"{one.slug}-{arch}", help=f"{one.name} with {arch} code") for arch in older
            ]
    return [item for item in known if str(item.value).startswith(word)]


def operations(_context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    from tunedb.problem import OPS

    return _starting(OPS, word)


def operations_or_all(_context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    from tunedb.problem import OPS

    return _starting(("all", *OPS), word)


def suites(_context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    """Offer the suites that come with tunedb, and files."""
    from tunedb.suite import shipped_suites

    # First, because bash forgets what stands before it.
    return [CompletionItem(word, type="file"), *_starting(shipped_suites(), word)]


def ids(context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    """Offer the ids of the suites that the command line names, or of all that come with tunedb."""
    from tunedb.errors import SuiteError
    from tunedb.suite import load_suite, shipped_suites

    named = context.params.get("suites") or context.params.get("suite") or shipped_suites()
    found: dict[str, str] = {}
    for name in [named] if isinstance(named, str) else named:
        try:
            found |= {entry.id: entry.op for entry in load_suite(name)}
        except SuiteError:
            continue  # the command itself will say what is wrong with it
    return [CompletionItem(name, help=op) for name, op in found.items() if name.startswith(word)]


def _listed(names: Iterable[str]) -> Completer:
    """Return what completes a list joined by commas: its last part, by names that it does not hold yet."""
    names = tuple(names)

    def complete(_context: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
        before, comma, last = word.rpartition(",")
        rest = [name for name in names if name not in before.split(",")]
        return [CompletionItem(f"{before}{comma}{item.value}") for item in _starting(rest, last)]

    return complete


def dtypes(context: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    from tunedb.problem import DTYPES

    return _listed(DTYPES)(context, param, word)


def layouts(context: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    from tunedb.problem import LAYOUTS

    return _listed(LAYOUTS)(context, param, word)


def _starting(names: Iterable[str], word: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(word)]
