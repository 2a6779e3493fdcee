"""The page beside a suite of the zoo: which models, which problems, and how few of them carry how much."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.report import table

from tunedb.describe import describe
from tunedb.distance import LAYER_LIMIT, kind
from tunedb.problem import Problem
from zoo.cover import covering, nearest
from zoo.suite_file import Layer

__all__ = ["counts", "covered", "page"]

TOPS = (10, 30, 100, 300, 1000, 3000, 10_000)
COVERS = (30, 100, 300, 1000)
ROWS = 12  # of a table; the rest is one row

Rows = list[tuple[str, ...]]


def counts(found: Sequence[Mapping[str, Any]], layers: Sequence[Layer]) -> dict[str, int]:
    """Return what a capture is in figures: for its last line and for the page."""
    captured = [model for model in found if not model["failure"]]
    return {
        "models": len(captured),
        "without convolutions": sum(not model["entries"] for model in captured),
        "skipped": len(found) - len(captured),
        "on CPU": sum(model["on"] == "cpu" for model in captured),
        "problems": len(layers),
        "calls": sum(layer.calls for layer in layers),
        "seconds": round(sum(model.get("seconds", 0.0) for model in found)),
    }


def covered(layers: Sequence[Layer], chosen: Sequence[int]) -> dict[str, float]:
    """Return which share of problems, and of layers in models, lies within LAYER_LIMIT doublings of a chosen problem."""
    near = [distance <= LAYER_LIMIT for distance in nearest(layers, chosen)]
    total = sum(layer.models for layer in layers)
    return {
        "problems": sum(near) / max(1, len(layers)),
        "layers": sum(layer.models for layer, is_near in zip(layers, near, strict=True) if is_near) / max(1, total),
    }  # fmt: skip


def page(found: Sequence[Mapping[str, Any]], layers: Sequence[Layer], versions: Mapping[str, str], command: str) -> str:  # fmt: skip
    """Return the page in Markdown."""
    what = counts(found, layers)
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    calls = sum(layer.calls for layer in layers)
    flops = sum(layer.calls * layer.problem.flops for layer in layers)
    parts = [
        "# The zoo: what public models ask of convolutions",
        (f"{what['models']} models, each called at usual sizes with `tunedb.capture`: {len(layers)} different problems in {calls:,} calls of "
        f"{flops / 1e12:,.0f} TFLOP. {what['skipped']} more could not be run, which the last table tells."),
        f"{said}; {dt.datetime.now(dt.UTC):%Y-%m-%d} (`{command}`).",
        ("A count of models says in how many models of this list a layer stands, not how often those models are run: a family with many "
        "variants of one network weighs more."),
        "## Models",
        table(("family", "captured", "of these without convolutions", "on a CPU", "skipped"), _families(found)),
        "## How much the most common problems are",
        "In the order of the file: those of most models first, then those with most calls. The last column takes those with most work instead.",
        table(("the first", "of all calls", "of all FLOPs", "stand in at least", "FLOPs of as many, by work"), _tops(layers)),
        "## How many problems cover the rest",
        (f"`--cover N` chooses N problems. A problem is covered when a chosen one lies within {LAYER_LIMIT:g} doublings of it (`tunedb/distance.py`): "
        "near enough to borrow from. A layer of a model is a problem in each model that has it."),
        table(("N", "of all problems", "of all layers in models"), _covers(layers)),
    ]  # fmt: skip
    for title, key in _GROUPINGS.items():
        parts += [f"## By {title}", table((title, "problems", "of all calls", "of all FLOPs"), _grouped(layers, key))]  # fmt: skip
    parts += ["## The most common", table(("id", "models", "calls", "problem"), _first(layers))]
    skipped = [(model["name"], model["failure"]) for model in found if model["failure"]]
    if skipped:
        parts += ["## Skipped", table(("model", "why"), [(name, _cell(why)) for name, why in skipped])]
    return "\n\n".join(parts) + "\n"


def _families(found: Iterable[Mapping[str, Any]]) -> Rows:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for model in found:
        groups[model["name"].partition("/")[0]].append(model)
    rows: Rows = []
    for name, models in groups.items():
        captured = [model for model in models if not model["failure"]]
        rows.append((
            name, str(len(captured)), str(sum(not model["entries"] for model in captured)),
            str(sum(model["on"] == "cpu" for model in captured)), str(len(models) - len(captured)),
        ))  # fmt: skip
    return rows


def _tops(layers: Sequence[Layer]) -> Rows:
    work = [layer.calls * layer.problem.flops for layer in layers]
    by_work = sorted(work, reverse=True)
    calls = sum(layer.calls for layer in layers)
    rows: Rows = []
    for top in [*(top for top in TOPS if top < len(layers)), len(layers)]:
        rows.append((
            f"{top:,}", _share(sum(layer.calls for layer in layers[:top]), calls), _share(sum(work[:top]), sum(work)),
            f"{layers[top - 1].models} models" if layers else "", _share(sum(by_work[:top]), sum(work)),
        ))  # fmt: skip
    return rows


def _covers(layers: Sequence[Layer]) -> Rows:
    tops = [top for top in COVERS if top < len(layers)]
    chosen = covering(layers, max(tops, default=0))
    rows: Rows = []
    for top in tops:
        share = covered(layers, chosen[:top])
        rows.append((str(top), f"{100 * share['problems']:.0f} %", f"{100 * share['layers']:.0f} %"))
    return rows


def _size(values: Sequence[int], problem: Problem) -> str:
    return "x".join(map(str, values[3 - problem.rank :]))


_GROUPINGS: dict[str, Callable[[Problem], str]] = {
    "operation": lambda problem: problem.op,
    "grouping": lambda problem: kind(problem)[1],
    "kernel": lambda problem: _size(problem.kernel, problem),
    "stride": lambda problem: _size(problem.stride, problem),
    "dilation": lambda problem: _size(problem.dilation, problem),
    "batch": lambda problem: str(problem.n),
    "layout, as captured": lambda problem: problem.layout,
}


def _grouped(layers: Sequence[Layer], key: Callable[[Problem], str]) -> Rows:
    problems: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    for layer in layers:
        name = key(layer.problem)
        problems[name] += 1
        calls[name] += layer.calls
        flops[name] += layer.calls * layer.problem.flops
    rows = [
        (name, str(count), _share(calls[name], calls.total()), _share(flops[name], flops.total()))
        for name, count in problems.most_common(ROWS)
    ]
    if others := [name for name, _ in problems.most_common()[ROWS:]]:
        rest = [sum(one[name] for name in others) for one in (problems, calls, flops)]
        rows.append((f"{len(others)} others", str(rest[0]), _share(rest[1], calls.total()), _share(rest[2], flops.total())))  # fmt: skip
    return rows


def _first(layers: Sequence[Layer]) -> Rows:
    return [
        (f"z{rank:05}", str(layer.models), str(layer.calls), describe(layer.problem))
        for rank, layer in enumerate(layers[: 2 * ROWS], start=1)
    ]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _cell(text: str) -> str:
    return text.replace("<", "&lt;")
