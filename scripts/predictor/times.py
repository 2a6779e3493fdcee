"""Fits the trees of tunedb/tune/predict: times of configs across devices, and torch's time on Ada. Needs LightGBM, scikit-learn and numpy."""

import json
import math
import statistics
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
from instructions.lines import Codes, key_of_row, told_of
from sklearn.ensemble import ExtraTreesRegressor
from trials.table import Row

from predictor import fitting
from tunedb.device import by_slug, floor_us
from tunedb.device.sustained import sustained
from tunedb.kernel import config_from_json, load
from tunedb.problem import Problem
from tunedb.suite import load_suite
from tunedb.tune.predict.expected import kind_of_code
from tunedb.tune.predict.instructions import TOLD
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.time_model import base_log, features, knows
from tunedb.tune.predict.torch_time import ADA, HOPPER, ratio_features

__all__ = ["CHOSEN", "Published", "TimeModel", "Trials", "fitted", "torch_trees"]

SETTINGS = fitting.SETTINGS | {"num_leaves": 31, "min_data_in_leaf": 8}
TREES = 600
EXTRA = {"n_estimators": 200, "min_samples_leaf": 2, "random_state": 0, "n_jobs": 2}
# The config of which most is expected takes so much longer than expected: the best of many guesses was chosen for its luck too.
# Median of problems whose code the trees had not seen (benchmarks/predicted, sm_89 from sm_90).
CHOSEN = 1.2
PARTS = 3  # of the layers, each held against trees that know the others
_SIZES = Problem._fields.index("n")

Array = np.ndarray[Any, Any]


class Trials:
    """Configs that ran, as features, with what floor and formula say of them and what they took, as log2 of microseconds.

    Beside them what their instructions tell, where `codes` (instructions.lines.read_codes) has them counted.
    """

    def __init__(self, rows: Sequence[Row], codes: Codes | None = None) -> None:
        self.rows = [row for row in rows if knows(row.kernel) and row.status == "ok" and row.time_us]
        self.slugs = np.array([row.device for row in self.rows])
        self.keys = [(row.device, row.problem) for row in self.rows]
        at = {key: number for number, key in enumerate(dict.fromkeys(self.keys))}
        self.of = np.array([at[key] for key in self.keys])
        found, base = [], []
        for row in self.rows:
            device, config = by_slug(row.device), config_from_json(load(row.kernel), row.config)
            found.append(features(row.problem, device, row.kernel, config))
            base.append(base_log(row.problem, device, found[-1]))
        self.features, self.base = np.array(found), np.array(base)
        counts = [(codes or {}).get(key_of_row(row)) for row in self.rows]
        self.counted = np.array([one is not None for one in counts])
        blank = [math.nan] * TOLD
        told = [
            blank if one is None else told_of(row, one) for row, one in zip(self.rows, counts, strict=True)
        ]
        self.with_code = np.hstack([self.features, np.array(told)])
        self.took = np.log2([row.time_us or 1.0 for row in self.rows])
        self.spills = np.array(
            [row.spills or 0 for row in self.rows], float
        )  # bytes a thread, where they are known
        best = np.full(len(at), np.inf)
        np.minimum.at(best, self.of, self.took)
        # Each problem counts alike, and a config counts less the further it is from the best: only good ones are chosen among.
        self.weight = 2 ** (-0.5 * (self.took - best[self.of])) / np.sqrt(np.bincount(self.of)[self.of])


def time_trees(trials: Trials, use: Array, seen: Array | None = None) -> Any:
    """Return LightGBM's model of the logarithms by which the trials of `use` differ from the formula, by `seen` of them: their sizes."""
    seen = trials.features if seen is None else seen
    data = lightgbm.Dataset(seen[use], (trials.took - trials.base)[use], weight=trials.weight[use])
    return lightgbm.train(SETTINGS, data, TREES)


class TimeModel:
    """What trees say that know the trials of `use` alone, as tunedb.tune.predict.time_model.expected_log does."""

    def __init__(self, trials: Trials, use: Array) -> None:
        self.sizes, self.spill = time_trees(trials, use), spill_cost(trials, use)
        known = use & trials.counted
        self.code = time_trees(trials, known, trials.with_code) if known.any() else None

    def expected(self, trials: Trials, *, by_sizes: bool = False) -> Array:
        """Return log2 of the microseconds that each trial should take; `by_sizes` as if no instructions were counted."""
        found = np.asarray(self.sizes.predict(trials.features))
        if self.code is not None and trials.counted.any() and not by_sizes:
            found[trials.counted] += self.code.predict(trials.with_code[trials.counted])
            found[trials.counted] /= 2
        return found + trials.base + self.spill * trials.spills


def spill_cost(trials: Trials, use: Array) -> float:
    """Return the logarithm (base 2) of time that each byte costs which a thread spills, by the trials of `use` that do.

    Each is held against trees that know none of its layer, in three parts; the cost is the one with the least sum of absolute errors.
    The trees are not told of it: of half the trials nobody knows what they spill, and telling them of the rest changed nothing.
    """
    part = np.array(
        [zlib.crc32(repr(row.problem[_SIZES : _SIZES + 5]).encode()) % PARTS for row in trials.rows]
    )
    over, bytes_ = [], []
    for number in range(PARTS):
        asked = use & (part == number) & (trials.spills > 0)
        if asked.any():
            trees = time_trees(trials, use & (part != number))
            over.append((trials.took - trials.base)[asked] - trees.predict(trials.features[asked]))
            bytes_.append(trials.spills[asked])
    if not over:
        return 0.0
    spilled = np.concatenate(bytes_)
    costs = np.concatenate(over) / spilled
    order = np.argsort(costs)
    weight = np.cumsum(spilled[order])
    return float(costs[order][np.searchsorted(weight, weight[-1] / 2)])


class Layer(NamedTuple):
    """A convolution of which others published torch's times, in microseconds by card."""

    id: str
    problem: Problem
    hopper_us: float  # the H200's, of this project, or others' (`Published.of_one_torch`)
    published: dict[str, float]


class Published:
    """Layers with published times."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        # An L4 is slower than its facts say, by a factor that all its times share.
        self.slower = {"l4": statistics.median(
            one.published["L4"] / moved_us(one.published["L40S"], one.problem, by_slug(ADA), by_slug("l4")) for one in self.layers
        )}  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> "Published":
        return cls(list(_layers(json.loads(path.read_text())["eager_ms"])))

    def without(self, layer: str) -> "Published":
        """Return the others: kb76 and kb76s are one layer at two lengths."""
        return Published([one for one in self.layers if one.id.rstrip("s") != layer.rstrip("s")])

    def of_one_torch(self) -> "Published":
        """Return the layers with the published times of two H100s in the place of this project's H200, which runs another torch.

        Both run the torch of the Ada cards. Their geometric mean is taken: single times of them differ by up to three times.
        """
        return Published(
            [
                one._replace(hopper_us=math.sqrt(one.published["H100Modal"] * one.published["H100PCIe"]))
                for one in self.layers
            ]
        )

    def ratio(self, one: Layer) -> float:
        """Return log2 of how much longer torch takes on an L40S than on an H200, by the times of both Ada cards."""
        from_l4 = moved_us(one.published["L4"] / self.slower["l4"], one.problem, by_slug("l4"), by_slug(ADA))
        return statistics.fmean((math.log2(one.published["L40S"]), math.log2(from_l4))) - math.log2(
            one.hopper_us
        )


def _layers(published: dict[str, dict[str, float]]) -> Iterator[Layer]:
    from tunedb.store.read import Database

    file = Database(Path(__file__).resolve().parents[2] / "db" / f"{HOPPER}.sqlite", immutable=True)
    for entry in load_suite("kernelbench"):
        if entry.id in published:
            problem = entry.problem("float32", "tf32")
            record = file.record(problem, HOPPER)
            if record is None or record.aten_us is None:
                continue
            times = {card: 1e3 * ms for card, ms in published[entry.id].items()}
            yield Layer(entry.id, problem, record.aten_us, times)


def torch_trees(published: Published) -> ExtraTreesRegressor:
    """Return extra trees of how much longer torch takes on an L40S."""
    found = ExtraTreesRegressor(**EXTRA)
    found.fit(
        [ratio_features(one.problem, one.hopper_us) for one in published.layers],
        [published.ratio(one) for one in published.layers],
    )
    return found


def fitted(trials: Trials, published: Published) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the forests as arrays, and the facts beside them."""
    model = TimeModel(trials, np.ones(len(trials.rows), bool))
    forests = {
        "time": fitting.arrays(model.sizes.dump_model()),
        "code": fitting.arrays(model.code.dump_model()),
        "torch": extra_arrays(torch_trees(published)),
    }
    facts = {
        "trials": len(trials.rows), "counted": int(trials.counted.sum()), "problems": len(set(trials.keys)), "published": len(published.layers), "chosen": CHOSEN, "spill": round(model.spill, 5),
        "slower": {slug: round(factor, 3) for slug, factor in published.slower.items()}, "reached": reached(trials),
    }  # fmt: skip
    return forests, facts


def reached(trials: Trials) -> dict[str, float]:
    """Return the largest share of the sustained floor that each kernel's code has reached, by its instructions and the width of its numbers."""
    found: dict[str, float] = defaultdict(float)
    for row in trials.rows:
        device = by_slug(row.device)
        name = kind_of_code(row.problem, row.kernel, device)
        found[name] = max(found[name], floor_us(row.problem, sustained(device)) / (row.time_us or math.inf))
    return {name: round(share, 3) for name, share in sorted(found.items())}


def extra_arrays(model: ExtraTreesRegressor) -> dict[str, Any]:
    """Return scikit-learn's trees as the arrays of tunedb.dispatch.unseen.trees.Forest; their mean becomes a sum."""
    found: dict[str, list[Any]] = {name: [] for name in ("roots", "column", "threshold", "left", "right")}
    for one in model.estimators_:
        tree, first = one.tree_, len(found["column"])
        found["roots"].append(first)
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            found["column"].append(-1 if leaf else int(tree.feature[node]))
            value = tree.value[node][0][0] / len(model.estimators_) if leaf else tree.threshold[node]
            found["threshold"].append(float(f"{value:.5g}" if leaf else f"{value:.9g}"))
            found["left"].append(0 if leaf else first + int(tree.children_left[node]))
            found["right"].append(0 if leaf else first + int(tree.children_right[node]))
    return {"base": 0.0, **found}
