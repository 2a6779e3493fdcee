"""What a capture gives: the convolutions of a model as a suite, each in its own dtype, layout and precision."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from tunedb.describe import counted, describe, table
from tunedb.errors import SuiteError, printable
from tunedb.problem import Problem, rank
from tunedb.suite import Entry, load_suite
from tunedb.suites.fields import LONGEST_TEXT
from tunedb.suites.replace_file import replace_file

__all__ = ["Layers", "as_compiled", "entry_of"]

SHOWN = 40  # rows of the table for people


class Layers:
    """The convolutions that a model asks for. Iterating gives suite entries, one for each different problem.

    `dropped` counts calls beyond the capture's limit; `skipped` counts, by reason, those that tunedb has no kernels for.
    """

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.skipped: Mapping[str, int] = Counter()
        self.dropped = 0

    def fill(
        self,
        calls: Mapping[Problem, int],
        modules: Mapping[Problem, tuple[str, ...]],
        skipped: Mapping[str, int],
        dropped: int,
    ) -> None:
        """Take over what a capture has seen."""
        times: Counter[str] = Counter()
        ids: set[str] = set()
        entries = []
        for problem, count in calls.items():
            # A module's name may hold any character.
            names = tuple(printable(name, None) for name in modules.get(problem, ()))
            name = (names[0] if names else problem.op)[: LONGEST_TEXT - 12] or problem.op
            unique = name
            while unique in ids:  # not the count alone: a module may itself be called "a#2"
                times[name] += 1
                unique = f"{name}#{times[name] + 1}"
            ids.add(unique)
            entries.append(entry_of(problem, unique, calls=count, modules=names))
        self.entries, self.skipped, self.dropped = tuple(entries), dict(skipped), dropped

    @property
    def problems(self) -> dict[Problem, Entry]:
        """Each problem with its entry."""
        return {entry.problem(): entry for entry in self.entries}

    @property
    def calls(self) -> int:
        """Calls of all entries together."""
        return sum(entry.calls for entry in self.entries)

    def compiled(self) -> Self:
        """Return the layers as a model of torch.compile runs them: two-dimensional ones in channels_last, which Inductor chooses."""
        layers = type(self)()
        layers.entries, layers.skipped, layers.dropped = as_compiled(self.entries), self.skipped, self.dropped
        return layers

    def save(self, path: str | Path) -> None:
        """Write a captured suite, which `tunedb sweep --suite` and `Layers.load` read.

        An existing file is replaced whole: a kill or a full disk loses nothing of it. A symbolic link is followed, and the file
        that it names is replaced.
        Raises SuiteError: where nothing was captured, or where the file cannot be written.
        """
        if not self.entries:
            raise SuiteError(f"a suite must have at least one problem, but {self._nothing()}")
        lines = ",\n".join(json.dumps(_record(entry), ensure_ascii=False) for entry in self.entries)
        try:
            replace_file(path, f"[\n{lines}\n]\n".encode())
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SuiteError(
                f"a suite must be written to a file in a folder that exists, but {printable(str(path))} gives: {why}."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the layers of a suite. Raises SuiteError: with every error of the file, each with its line."""
        layers = cls()
        layers.entries = tuple(load_suite(path))
        return layers

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        if not self.entries:
            return f"No convolutions: {self._nothing()}"
        rows = [(entry.id, str(entry.calls), describe(entry.problem())) for entry in self.entries[:SHOWN]]
        text = f"{counted(len(self), 'problem')}, {counted(self.calls, 'call')}\n{table(('layer', 'calls', 'what is asked'), rows)}"
        if len(self) > SHOWN:
            text += f"\nand {len(self) - SHOWN} more"
        if self.dropped:
            text += (
                f"\n{self.dropped} calls of further problems are not in it: the capture's limit was reached."
            )
        return text + "".join(
            f"\n{count} calls that torch answers: {why}" for why, count in self.skipped.items()
        )

    def _nothing(self) -> str:
        if self.skipped:
            why = "; ".join(f"{count} calls: {reason}" for reason, count in self.skipped.items())
            return f"tunedb answers none of those that were called ({why})."
        return "no convolution was called inside `with tunedb.capture()`: call the model there, with real or meta tensors."


def as_compiled(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries of a suite as torch.compile runs them; what is one problem there is one entry."""
    found: dict[Problem, Entry] = {}
    for entry in entries:
        run = entry._replace(layout="channels_last") if rank(entry.op) == 2 else entry
        before = found.get(problem := run.problem())
        if before is not None:
            modules = tuple(dict.fromkeys((*before.modules, *run.modules)))
            run = before._replace(calls=before.calls + run.calls, modules=modules)
        found[problem] = run
    return tuple(found.values())


def entry_of(problem: Problem, name: str, *, calls: int = 1, modules: tuple[str, ...] = ()) -> Entry:
    """Return a problem as an entry of a captured suite."""
    lead = 3 - problem.rank
    return Entry(
        name, 0, problem.op, problem.n, problem.c_in, problem.extents[lead:], problem.c_out, problem.kernel[lead:],
        problem.stride[lead:], problem.padding[lead:], problem.output_padding[lead:], problem.dilation[lead:], problem.groups,
        bool(problem.bias), problem.dtype, problem.precision, problem.layout, calls, modules,
    )  # fmt: skip


def _record(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in entry._asdict().items() if name != "line"}
