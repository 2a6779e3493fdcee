"""Fits the trees of tunedb/dispatch/unseen to rows of trials, and gives them as plain arrays. Needs LightGBM and numpy."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from trials.table import Row

from tunedb.device import by_slug
from tunedb.device.assembler import overwrites
from tunedb.dispatch.unseen.features import KERNELS, config_features, problem_features, scale_log
from tunedb.dispatch.unseen.trees import VERSION
from tunedb.kernel import config_from_json, load

__all__ = ["Data", "facts_of", "fitted", "launchable", "write"]

# More trees of configs' times predict better up to 600 (docs/experiments.md, 2026-11-28); torch's have fewer times to learn from.
TREES = {"torch": 300, "config": 600}
LEAVES = {"torch": 15, "config": 31}
SETTINGS: dict[str, Any] = {
    "objective": "l2", "learning_rate": 0.05, "min_data_in_leaf": 5, "feature_fraction": 0.4,
    "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "verbose": -1, "seed": 0, "deterministic": True, "num_threads": 2,
}  # fmt: skip


def launchable(rows: Iterable[Row]) -> list[Row]:
    """Return rows without the configs that are expected to become wrong machine code: they were timed, but nothing launches them any more."""
    return [row for row in rows if row.kernel not in KERNELS or not overwrites(row.kernel, _config(row), by_slug(row.device).capability)]  # fmt: skip


def _config(row: Row) -> Any:
    return config_from_json(load(row.kernel), row.config)


class Data:
    """Features and times of rows: torch's and the trials'. Times as log2 over the problem's scale (`scale_log`)."""

    def __init__(self, rows: Sequence[Row]) -> None:
        problems = {(row.device, row.problem): row.models for row in rows}
        self.keys = list(problems)
        self.models = list(problems.values())
        at = {key: number for number, key in enumerate(self.keys)}
        self.about = np.array(
            [problem_features(problem, by_slug(slug)) for slug, problem in self.keys], float
        )
        scales = np.array([scale_log(problem, by_slug(slug)) for slug, problem in self.keys])
        self.torch = np.full(len(at), np.nan)
        for row in rows:
            if row.kernel == "aten" and row.time_us:
                self.torch[at[row.device, row.problem]] = np.log2(row.time_us)
        self.torch -= scales
        trials = [row for row in rows if row.kernel in KERNELS and row.status == "ok" and row.time_us]
        self.of = np.array([at[row.device, row.problem] for row in trials])
        configs = [
            config_features(row.problem, by_slug(row.device), row.kernel, _config(row)) for row in trials
        ]  # fmt: skip
        self.features = np.hstack([self.about[self.of], np.array(configs, float)])
        self.own = np.log2([row.time_us or 0 for row in trials]) - scales[self.of]
        best = np.full(len(at), np.inf)
        np.minimum.at(best, self.of, self.own)
        # Each problem counts alike, and a config counts less the further it is from the best: only good ones are chosen among.
        self.weight = 2 ** (-0.5 * (self.own - best[self.of])) / np.sqrt(np.bincount(self.of)[self.of])


def facts_of(rows: Sequence[Row], data: Data) -> dict[str, Any]:
    """Return what a predictor rests on: `whole` are the devices of which most searches are known whole, not their finalists alone."""
    searched = {(row.device, row.problem) for row in rows if row.run == "search"}
    of = Counter(slug for slug, _ in data.keys)
    whole = sorted(slug for slug, count in of.items() if 2 * sum(one == slug for one, _ in searched) > count)
    return {"problems": len(data.keys), "trials": len(data.own), "whole": whole}


def fitted(data: Data, use: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the forests, as arrays, of the problems that `use` names by place."""
    import lightgbm  # here, so that what asks a predictor can be tested without it

    with_torch, trials = use & ~np.isnan(data.torch), use[data.of]
    given = {
        "torch": (data.about[with_torch], data.torch[with_torch], None),
        "config": (data.features[trials], data.own[trials], data.weight[trials]),
    }
    forests = {}
    for name, (features, target, weight) in given.items():
        settings = SETTINGS | {"num_leaves": LEAVES[name]}
        trees = lightgbm.train(settings, lightgbm.Dataset(features, target, weight=weight), TREES[name])
        forests[name] = arrays(trees.dump_model())
    return forests


def arrays(model: dict[str, Any]) -> dict[str, Any]:
    """Return LightGBM's trees as the arrays of tunedb.dispatch.unseen.trees.Forest, parents before children."""
    found: dict[str, list[Any]] = {name: [] for name in ("roots", "column", "threshold", "left", "right")}

    def add(node: dict[str, Any]) -> int:
        place = len(found["column"])
        leaf = "leaf_value" in node
        found["column"].append(-1 if leaf else node["split_feature"])
        # A threshold with fewer digits may part other values than it was fitted to, so it keeps nine.
        found["threshold"].append(float(f"{node['leaf_value']:.5g}" if leaf else f"{node['threshold']:.9g}"))
        found["left"].append(0)
        found["right"].append(0)
        if not leaf:
            found["left"][place], found["right"][place] = add(node["left_child"]), add(node["right_child"])
        return place

    found["roots"] = [add(tree["tree_structure"]) for tree in model["tree_info"]]
    return {"base": 0.0, **found}


def write(path: Path, devices: Sequence[str], forests: dict[str, Any], facts: dict[str, Any]) -> int:
    """Write a predictor; the same content gives the same bytes. Returns its size in bytes."""
    text = json.dumps(
        {"version": VERSION, "devices": list(devices), "facts": facts, "forests": forests},
        separators=(",", ":"),
    )
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return path.stat().st_size
