"""One suite of all models: each problem once, with how many models and calls it stands for, the most common first."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trials.models import network

from tunedb.arguments import AXIS_SIZES
from tunedb.problem import Problem
from tunedb.suite import Entry, load_suite
from tunedb.suites.replace_file import replace_file

__all__ = ["EXAMPLES", "Layer", "merged", "read", "write"]

EXAMPLES = 3  # modules of an entry
_USUAL = {"n": 1, "groups": 1, "bias": True}  # what an entry of a suite leaves out


class Layer(NamedTuple):
    """A problem that models ask for: in how many models, and how often in one pass through all of their calls."""

    problem: Problem
    models: int
    calls: int
    modules: tuple[str, ...]  # a few of them, as in "timm/resnet50 layer1.0.conv1"
    networks: tuple[str, ...] = ()  # of all of these models: variants of one network count once


def merged(found: Iterable[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers of captured models: those of most models first, then those with most calls, then the first seen."""
    calls: dict[Problem, int] = {}
    asking: dict[Problem, dict[str, str]] = {}  # model: module
    for model in found:
        for record in model.get("entries", ()):
            problem = _problem(record)
            calls[problem] = calls.get(problem, 0) + record["calls"]
            asking.setdefault(problem, {}).setdefault(model["name"], record["module"])
    layers = [
        Layer(
            problem,
            len(asking[problem]),
            count,
            _examples(asking[problem]),
            tuple(sorted(set(map(network, asking[problem])))),
        )
        for problem, count in calls.items()
    ]
    return sorted(layers, key=lambda layer: (-layer.models, -layer.calls))


def _problem(record: Mapping[str, Any]) -> Problem:
    geometry = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record.items()
        if name in Entry._fields and name not in {"calls", "modules"}
    }
    return Entry(id="", line=0, **geometry).problem()


def _examples(modules: Mapping[str, str]) -> tuple[str, ...]:
    """Return a module of each family first: they say more than three of one family."""
    by_family: dict[str, str] = {}
    for name in modules:
        by_family.setdefault(name.partition("/")[0], name)
    names = dict.fromkeys([*by_family.values(), *modules])
    return tuple(f"{name} {modules[name]}".strip() for name in [*names][:EXAMPLES])


def write(path: Path, layers: Sequence[Layer], versions: Mapping[str, str]) -> None:
    """Write a captured suite, a line a layer. What was captured with which versions stands in the first one's note."""
    lines = []
    for rank, layer in enumerate(layers, start=1):
        note: dict[str, Any] = {"models": layer.models, "networks": layer.networks}
        if rank == 1 and versions:
            note["versions"] = dict(versions)
        record = {"id": f"z{rank:05}", **_record(layer.problem), "calls": layer.calls, "modules": layer.modules, "note": note}  # fmt: skip
        lines.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def _record(problem: Problem) -> dict[str, Any]:
    lead = 3 - problem.rank
    sizes = {"spatial_in": problem.extents, "kernel": problem.kernel, **{name: getattr(problem, name) for name in AXIS_SIZES}}  # fmt: skip
    record: dict[str, Any] = {name: getattr(problem, name) for name in ("op", "n", "c_in", "c_out", "groups")}
    record["bias"] = bool(problem.bias)
    for name, value in sizes.items():
        own = value[lead:]
        record[name] = own[0] if len(set(own)) == 1 else own
    usual = {**_USUAL, **AXIS_SIZES}
    short = {name: value for name, value in record.items() if name not in usual or value != usual[name]}
    return {**short, "dtype": problem.dtype, "precision": problem.precision, "layout": problem.layout}


def read(path: Path) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers and the versions of a suite that `write` wrote; of any other suite a layer stands for one model.

    Raises SuiteError: with every error of the file.
    """
    entries = load_suite(path)
    notes = [_note(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    layers = [
        Layer(
            entry.problem(),
            note.get("models", 1),
            entry.calls,
            entry.modules,
            tuple(note.get("networks", ())),
        )
        for entry, note in zip(entries, notes, strict=True)
    ]
    return layers, notes[0].get("versions", {}) if notes else {}


def _note(record: Mapping[str, Any]) -> dict[str, Any]:
    note = record.get("note")
    return note if isinstance(note, dict) else {}
