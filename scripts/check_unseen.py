"""What each rule would answer on problems that nobody has swept, by leaving models or families out of what is known.

    python scripts/check_unseen.py benchmarks/trials/h100.csv.gz benchmarks/trials/h200.csv.gz --by model --json out/unseen.json

For every problem that was searched, all problems of its models (or of their families), on every device, are taken out of the
databases and out of what the predictor is fitted to (--by device: all that was measured on its device, and nothing else); then today's tiers, with that predictor, and other rules for it answer. What an answer would have
given is looked up among the trials of that very problem: an answer that was never timed there is counted as unknown and says
nothing for or against the rule; --untimed lists those of today's tiers and of the predictor with the least gain, to be timed on a GPU.
Winners are more often known than losers where a table holds finalists only (a device whose `search` rows are missing): there the share that is slower is too low by an unknown amount.
"timed only" chooses among what was timed there: fair where a search's trials are kept, since defaults, seeds and hints are tried
whatever they give; flattering where only finalists are. `fewest` is the gain where every unknown answer gave nothing (torch's time), `most` where each was the best ever timed there.
Needs LightGBM and numpy. The last line of stdout is one JSON object, which has every line of the table.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from predictor.fitting import Data, facts_of, fitted, launchable
from predictor.tiers import without
from trials.models import family, groups, weight_of
from trials.table import Row, read
from trials.timed import rows as timed_rows

from tunedb.describe import table
from tunedb.device import by_slug
from tunedb.dispatch import unswept
from tunedb.dispatch.lookup import answer
from tunedb.dispatch.unseen.choose import COLUMNS, Guess, candidates, judged
from tunedb.dispatch.unseen.trees import Predictor, forest_of
from tunedb.distance import between_neighbours, kind
from tunedb.kernel import config_to_json
from tunedb.problem import Problem
from tunedb.record import Choice

ROOT = Path(__file__).resolve().parents[1]
SLOWER = math.log2(1.03)
KIN = 8  # winners of the nearest problems that the predictor judges beside each kernel's own configs
LEAST = (0.2, 0.3, 0.4, 0.5, 0.6)  # expected gain from which an answer of the predictor is taken (log2)
TODAY, BOLDEST = "today's tiers", f"predictor, gain {2 ** LEAST[0]:.2f}"

Key = tuple[str, Problem]


class Said(NamedTuple):
    """A rule's answer to a problem: None is torch."""

    rule: str
    key: Key
    choice: Choice | None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--by", choices=("model", "family", "device"), default="model")
    parser.add_argument(
        "--folds", type=int, default=40, help="at most so many are left out, one after the other"
    )
    parser.add_argument("--json", type=Path, help="also write the result there")
    parser.add_argument(
        "--untimed",
        type=Path,
        help="write the answers that were never timed there, a line each: today's, and what the predictor would give with the least gain",
    )
    parser.add_argument(
        "--timed",
        type=Path,
        nargs="*",
        default=[],
        help="what time_untimed.py wrote: times of answers, which nothing is fitted to",
    )
    given = parser.parse_args(argv)
    rows = launchable(row for path in given.tables for row in read(path))
    times = Times([*rows, *(row for path in given.timed for row in timed_rows(path))])
    said = list(answers(rows, times, given.by, given.folds))
    together: dict[tuple[str, str], list[Said]] = {}
    for one in sorted(said, key=lambda one: (one.key[0], one.rule)):
        together.setdefault((one.key[0], one.rule), []).append(one)
    result = [{"rule": rule, "device": slug, **told(times, some)} for (slug, rule), some in together.items()]
    print(table(tuple(result[0]), [tuple(map(str, line.values())) for line in result]))
    if given.untimed:
        lines = {
            json.dumps({"device": one.key[0], "problem": one.key[1]._asdict(), **one.choice._asdict()})
            for one in said
            if one.rule in (TODAY, BOLDEST) and one.choice and times.gain(one) is None
        }
        given.untimed.write_text("".join(f"{line}\n" for line in sorted(lines)))
    text = json.dumps({"by": given.by, "rules": result})
    if given.json:
        given.json.write_text(text + "\n")
    print(text)
    return 0


class LeftOut(NamedTuple):
    """What is known while something is left out."""

    use: np.ndarray[Any, Any]  # of the data's keys, those that are known
    shipped: dict[str, Path]
    held: set[Problem]  # that these files must not know


def left_out(data: Data, by: str, folds: int) -> Iterator[LeftOut]:
    """Yield each part that is left out: models or families, on all devices, or a device.

    A layer of a model that is left out goes at every other size too, whichever models have it there.
    """
    shipped = {slug: ROOT / "db" / f"{slug}.sqlite" for slug in sorted({key[0] for key in data.keys})}
    if by == "device":
        for slug in shipped:
            others = {other: path for other, path in shipped.items() if other != slug}
            yield LeftOut(np.array([key[0] != slug for key in data.keys]), others, set())
        return
    named = groups if by == "model" else family
    names = sorted({name for models in data.models for name in named(models)})
    fold = {name: number % folds for number, name in enumerate(names)}
    of = [{fold[name] for name in named(models)} for models in data.models]
    weights = [weight_of(problem) for _, problem in data.keys]
    for number in range(min(folds, len(names))):
        gone = {weight for weight, some in zip(weights, of, strict=True) if number in some}
        use = np.array([weight not in gone for weight in weights])
        held = {key[1] for key, used in zip(data.keys, use, strict=True) if not used}
        yield LeftOut(use, shipped, held)


def answers(rows: Sequence[Row], times: "Times", by: str, folds: int) -> Iterator[Said]:
    """Yield what every rule answers to every searched problem while its models, families or device are left out."""
    data = Data(rows)
    searched = {(row.device, row.problem) for row in rows if row.aten_us}
    winners, done = best(rows), set[Key]()
    for use, shipped, held in left_out(data, by, folds):
        forests = {name: forest_of(trees, COLUMNS[name]) for name, trees in fitted(data, use).items()}
        kept = {key for key, used in zip(data.keys, use, strict=True) if used}
        facts = facts_of([row for row in rows if (row.device, row.problem) in kept], data)
        predictor = Predictor(tuple(shipped), forests, facts)
        with without(shipped, held), mock.patch.object(unswept, "shipped_predictor", return_value=predictor):
            for key, used in zip(data.keys, use, strict=True):
                if not used and key in searched and key not in done:
                    done.add(key)
                    yield from today(key)
                    yield from predicted(key, predictor, winners, kept, times)
        print(f"{len(done)} problems", flush=True)


def today(key: Key) -> Iterator[Said]:
    found = answer(key[1], by_slug(key[0]))
    choice = None if found.kernel == "aten" else Choice(found.kernel, config_to_json(found.config))
    yield Said(TODAY, key, choice)
    yield Said(f"of them {found.tier}", key, choice)


def predicted(
    key: Key, predictor: Predictor, winners: dict[Key, tuple[float, Choice]], kept: set[Key], times: "Times"
) -> Iterator[Said]:
    slug, problem = key
    near = sorted(
        (between_neighbours(problem, other[1]) + 0.5 * (other[0] != slug), other)
        for other in winners
        if other in kept and other[1][:4] == problem[:4] and kind(other[1]) == kind(problem)
    )
    kin = list(dict.fromkeys(winners[other][1] for _, other in near))[:KIN]
    device = by_slug(slug)
    every = list(judged(predictor, problem, device, candidates(problem, device, kin)))
    timed = [one for one in every if times.gain(Said("", key, choice_of(one))) is not None]
    for rule, some in (("predictor", every), ("predictor, timed only", timed)):
        found = max(some, key=lambda one: one.gain, default=None)
        for least in LEAST:
            taken = found is not None and found.gain >= least
            yield Said(f"{rule}, gain {2**least:.2f}", key, choice_of(found) if found and taken else None)


def choice_of(guess: Guess) -> Choice:
    return Choice(guess.kernel, config_to_json(guess.config))


def best(rows: Sequence[Row]) -> dict[Key, tuple[float, Choice]]:
    """Return the fastest config that was timed in a final run, of each problem."""
    found: dict[Key, tuple[float, Choice]] = {}
    for row in rows:
        if row.kernel != "aten" and row.status == "ok" and row.run == "final" and row.time_us:
            known = (row.time_us, Choice(row.kernel, row.config))
            key = (row.device, row.problem)
            found[key] = min(found.get(key, known), known)
    return found


class Times:
    """What was timed, as gains: log2 of torch's time over a config's."""

    def __init__(self, rows: Sequence[Row]) -> None:
        fine = [row for row in rows if row.status == "ok" and row.time_us and row.aten_us]
        self.gains = {
            ((row.device, row.problem), Choice(row.kernel, row.config)): math.log2(row.aten_us / row.time_us)
            for row in fine
        }
        self.wrong = {
            ((row.device, row.problem), Choice(row.kernel, row.config))
            for row in rows
            if row.status == "wrong"
        }
        self.best: dict[Key, float] = {}
        for (key, _), gain in self.gains.items():
            self.best[key] = max(gain, self.best.get(key, 0.0))

    def gain(self, said: Said) -> float | None:
        """Return an answer's gain; None where it was never timed on that problem."""
        return 0.0 if said.choice is None else self.gains.get((said.key, said.choice))


def told(times: Times, said: Sequence[Said]) -> dict[str, Any]:
    """Return a rule's figures: gains are geometric means, `of` is what the best known configs would have given."""
    gains = [times.gain(one) for one in said]
    known = [gain for gain in gains if gain is not None]
    own = [gain for one, gain in zip(said, gains, strict=True) if one.choice and gain is not None]
    wrong = sum((one.key, one.choice) in times.wrong for one in said)
    best_known = [times.best[one.key] for one, gain in zip(said, gains, strict=True) if gain is not None]
    bounds = [[gain if gain is not None else other for gain, other in zip(gains, others, strict=True)]
              for others in ([0.0] * len(gains), [times.best[one.key] for one in said])]  # fmt: skip
    return {
        "problems": len(said),
        "own": round(sum(one.choice is not None for one in said) / len(said), 3),
        "unknown": len(said) - len(known),
        "gain": mean(known),
        "of": mean(best_known),
        "slower": f"{sum(gain < -SLOWER for gain in own)} of {len(own)}",
        "wrong": f"{wrong} of {len(own) + wrong}",
        "worst": round(2 ** min(own, default=0.0), 2),
        "fewest": mean(bounds[0]),
        "most": mean(bounds[1]),
        "best": mean([times.best[one.key] for one in said]),
    }


def mean(gains: Sequence[float]) -> float:
    return round(2 ** statistics.fmean(gains), 3) if gains else 1.0


if __name__ == "__main__":
    raise SystemExit(main())
