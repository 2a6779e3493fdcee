"""Answers that were timed beside torch on problems that nobody had swept: a file of JSON lines, and the list of what is to be timed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trials.table import Row
from tunedb import kernel as kernels
from tunedb.problem import Problem, checked
from tunedb.record import Choice, Measurement

__all__ = ["Timed", "read", "rows", "untimed"]


class Timed(NamedTuple):
    """One problem: torch's microseconds, and what became of each config, timed in turn with it."""

    device: str
    problem: Problem
    torch_us: float | None
    results: tuple[tuple[Choice, Measurement], ...]

    def line(self) -> str:
        """Return the line of the file."""
        results = [
            {**choice._asdict(), "status": one.status, "time_us": one.time_us, "detail": one.detail, "code": kernels.source_hash(choice.kernel)}
            for choice, one in self.results
        ]  # fmt: skip
        return json.dumps(
            {
                "device": self.device,
                "problem": self.problem._asdict(),
                "torch_us": self.torch_us,
                "results": results,
            }
        )


def untimed(path: Path, slug: str) -> dict[Problem, list[Choice]]:
    """Return the configs to be timed on a device, by problem, as scripts/check_unseen.py --untimed writes them."""
    found: dict[Problem, list[Choice]] = {}
    for given in _lines(path):
        if given["device"] == slug:
            choices = found.setdefault(checked(Problem(**given["problem"])), [])
            choices.append(Choice(given["kernel"], given["config"]))
    return found


def read(path: Path) -> Iterator[Timed]:
    """Yield the problems of a file that `Timed.line` wrote."""
    yield from map(_timed, _lines(path))


def rows(path: Path, models: Any = lambda _: ()) -> Iterator[Row]:
    """Yield the rows of the table of trials; `models` says which models have a problem."""
    for given in _lines(path):
        one = _timed(given)
        shared = one.device, one.problem
        own, source = tuple(models(one.problem)), path.name
        yield Row(*shared, "aten", "{}", "", "ok", one.torch_us, one.torch_us, "final", own, source)
        for (choice, measured), raw in zip(one.results, given["results"], strict=True):
            yield Row(
                *shared, *choice, raw["code"], measured.status, measured.time_us, one.torch_us, "final", own, source
            )  # fmt: skip


def _timed(given: dict[str, Any]) -> Timed:
    results = tuple(
        (Choice(one["kernel"], one["config"]), Measurement(one["status"], one["time_us"], detail=one["detail"]))
        for one in given["results"]
    )  # fmt: skip
    return Timed(given["device"], checked(Problem(**given["problem"])), given["torch_us"], results)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
