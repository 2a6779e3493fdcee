"""Compare the time model with the trials that a sweep measured.

    python scripts/check_model.py h200.history.log --device h200

For every problem of the history with at least 10 good trials: the rank correlation of predicted and measured times,
and what the model's favourite, and the best of its first five, took against the best config tried. A table of the
problems goes to stdout with --all; the last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEAST = 10  # good trials: fewer rank by chance


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("history", type=Path, help="the sweep's journal file")
    parser.add_argument("--device", required=True, help="slug of the GPU that measured it")
    parser.add_argument("--all", action="store_true", help="show every problem")
    arguments = parser.parse_args()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from tunedb.device import by_slug

    device = by_slug(arguments.device)
    storage = JournalStorage(JournalFileBackend(str(arguments.history)))
    rows = []
    for summary in optuna.get_all_study_summaries(storage):
        facts = summary.user_attrs
        if (facts.get("device"), facts.get("provenance")) == (device.slug, "measured"):
            trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
            if row := compared(facts["problem"], trials, device):
                rows.append((facts["label"], *row))
    if not rows:
        sys.exit(f"{arguments.history} has no problem with {LEAST} good trials measured on {device.slug}.")
    if arguments.all:
        for label, count, rank, favourite, five, ratio in sorted(rows):
            print(
                f"{label:40} {count:4} rank {rank:5.2f} favourite {favourite:5.2f} five {five:5.2f} ratio {ratio:5.2f}"
            )
    _, counts, ranks, favourites, fives, ratios = zip(*rows, strict=True)
    print(
        json.dumps(
            {
                "device": device.slug,
                "problems": len(rows),
                "trials": sum(counts),
                "rank_correlation_median": round(statistics.median(ranks), 3),
                "favourite_over_best": round(statistics.geometric_mean(favourites), 3),
                "best_of_five_over_best": round(statistics.geometric_mean(fives), 3),
                "predicted_over_measured_median": round(statistics.median(ratios), 3),
            }
        )
    )
    return 0


def compared(
    sizes: dict[str, Any], trials: Sequence[Any], device: Any
) -> tuple[int, float, float, float, float] | None:
    """Return count, rank correlation, favourite and best of five over the best, and the median of the ratios."""
    from tunedb.problem import Problem
    from tunedb.record import Measurement
    from tunedb.tune.predict import predict_us

    problem, pairs = Problem(**sizes), []
    for trial in trials:
        facts = trial.user_attrs
        if facts.get("status") == "ok" and trial.value is not None:
            needs = Measurement("ok", **{name: facts.get(name) for name in ("shared", "registers", "spills")})
            pairs.append((predict_us(problem, facts["kernel"], facts["config"], needs, device), trial.value))
    if len(pairs) < LEAST:
        return None
    measured = [us for _, us in sorted(pairs)]  # the model's favourite first
    best = min(measured)
    predicted_ranks, measured_ranks = (ranks(times) for times in zip(*pairs, strict=True))
    try:
        rank = statistics.correlation(predicted_ranks, measured_ranks)
    except statistics.StatisticsError:  # all alike: they say nothing
        rank = 0.0
    ratio = statistics.median(predicted / us for predicted, us in pairs)
    return len(pairs), rank, measured[0] / best, min(measured[:5]) / best, ratio


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, equal ones sharing their mean."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]


if __name__ == "__main__":
    sys.exit(main())
