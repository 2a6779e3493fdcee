"""Compare a sweep by gain with equal trials for every layer, on a model made of recorded landscapes.

    python scripts/compare_schedules.py tests/landscapes/*.json.gz

No GPU is used: the clock is simulated, one GPU whose looks, searches and trials take what --look, --start and --trial say.
The model has each recorded problem four times, with different calls: as it was recorded, with a torch that the best config
beats by 10 %, with one that no config beats, and with one that stands 5 % above the floor. The last line of stdout is one
JSON object: microseconds saved of a forward pass after so many seconds, by schedule.
"""

import argparse
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from samplers.landscapes import Landscape, outcomes, read, space, together

from tunedb.device import by_slug, floor_us
from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.tune.choose_winner import ATEN
from tunedb.tune.schedule import ByGain, Equal, Schedule
from tunedb.tune.search import Search
from tunedb.tune.space import Space

AHEAD = 12  # configs under way at a time


class Costs(NamedTuple):
    """Seconds of the simulated GPU."""

    look: float  # torch's time
    start: float  # of a search: the reference, and its final pass
    trial: float


class Layer(NamedTuple):
    """A layer of the model: torch's time is made up, its configs' times are recorded."""

    ground: Space
    known: dict[Choice, Measurement]
    calls: int
    floor_us: float
    aten_us: float


def model(landscapes: Sequence[Landscape], seed: int) -> dict[Problem, Layer]:
    """Return the layers of a model, whose calls and searches differ by seed."""
    layers = {}
    for group in together(landscapes).values():
        known, floor = outcomes(group), floor_us(group[0].problem, by_slug(group[0].device))
        best = min(us for one in known.values() if (us := one.time_us) is not None)
        rng = random.Random(f"{seed} {group[0].label}")
        torch = (group[0].aten_us or 2 * best, 1.1 * best, 0.9 * best, 1.05 * floor)
        for kind, (aten, calls) in enumerate(zip(torch, rng.sample((1, 2, 4, 8), 4), strict=True)):
            ground = space(group, seed=4 * seed + kind)
            layers[ground.problem] = Layer(ground, known, calls, floor, aten)
    return layers


def swept(
    layers: dict[Problem, Layer], schedule: Schedule, costs: Costs, seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield after each job the seconds that have passed and the microseconds saved of a forward pass."""
    clock, saved = 0.0, dict.fromkeys(layers, 0.0)
    past: dict[Problem, list[Tried]] = {problem: [] for problem in layers}
    while clock < seconds:
        waiting = [problem for problem in layers if schedule.verdict(problem).state == "waiting"]
        task = schedule.next(waiting)
        if task is None:
            return
        problem, layer = task.problem, layers[task.problem]
        if not task.trials:
            clock += costs.look
            schedule.looked(problem, layer.aten_us, costs.look)
            continue
        before = len(past[problem])
        room = int((seconds - clock - costs.start) / costs.trial)  # at the end a search is called in
        past[problem] = searched(layer, task.trials, past[problem], room)
        new = len(past[problem]) - before
        took = costs.start + new * costs.trial
        clock += took
        found = record(problem, layer, past[problem])
        schedule.answered(problem, found, task.trials, new, took)
        saved[problem] = layer.calls * (layer.aten_us - found.time_us)
        if clock <= seconds:
            yield clock, sum(saved.values())


def searched(layer: Layer, trials: int, past: Sequence[Tried], room: int) -> list[Tried]:
    """Return the trials of a layer after a search of so many in all, or of as many more as there is room for."""
    search, pending = Search(layer.ground, trials, past=past), []
    while not search.finished and len(search.tried) - len(past) < room:
        choice = search.ask() if len(pending) < AHEAD else None
        if choice is not None:
            pending.append(choice)
        elif pending:
            search.tell(pending[0], layer.known[pending.pop(0)])
        else:
            break
    return search.tried


def record(problem: Problem, layer: Layer, tried: Sequence[Tried]) -> Record:
    """Return the answer of a layer: torch's own kernel wins within 1 %, as in a sweep."""
    times = [(us, *one.choice) for one in tried if (us := one.measurement.time_us) is not None]
    best = min(times, default=(layer.aten_us, *ATEN))
    if layer.aten_us <= 1.01 * best[0]:
        best = (layer.aten_us, *ATEN)
    return Record(
        problem, "h200", best[1], best[2], best[0], None, None, layer.aten_us, layer.floor_us, None, None, "measured",
        len(tried), "", "", "", "", "", "",
    )  # fmt: skip


def compared(
    landscapes: Sequence[Landscape], costs: Costs, seconds: Sequence[float], seeds: int
) -> dict[str, list[float]]:
    """Return the median microseconds saved after each of `seconds`, by schedule, and what could be saved at most."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        layers = model(landscapes, seed)
        floors = {problem: layer.floor_us for problem, layer in layers.items()}
        calls = {problem: layer.calls for problem, layer in layers.items()}
        for limit in seconds:
            rivals: dict[str, Schedule] = {
                "by gain": ByGain(floors, calls, seconds=limit),
                **{f"{trials} trials each": Equal(floors, trials) for trials in (12, 40, 100)},
            }
            for name, schedule in rivals.items():
                last = max((saved for _, saved in swept(layers, schedule, costs, limit)), default=0.0)
                found.setdefault(name, []).append([limit, last])
        best = sum(
            layer.calls * max(0.0, layer.aten_us - min(m.time_us for m in layer.known.values() if m.time_us))
            for layer in layers.values()
        )
        found.setdefault("best", []).extend([limit, best] for limit in seconds)
    return {
        name: [round(statistics.median(us for at, us in runs if at == limit)) for limit in seconds]
        for name, runs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("landscapes", nargs="+", type=Path, help="files of record_landscape.py")
    parser.add_argument("--seconds", default="30,60,120,300,600", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="models (default: %(default)s)")
    parser.add_argument("--look", type=float, default=0.4, help="seconds (default: %(default)s)")
    parser.add_argument("--start", type=float, default=1.2, help="seconds (default: %(default)s)")
    parser.add_argument("--trial", type=float, default=0.25, help="seconds (default: %(default)s)")
    arguments = parser.parse_args()
    seconds = [float(one) for one in arguments.seconds.split(",")]
    costs = Costs(arguments.look, arguments.start, arguments.trial)
    saved = compared([read(path) for path in arguments.landscapes], costs, seconds, arguments.seeds)
    print(json.dumps({"seconds": seconds, "costs": costs._asdict(), "saved_us": saved}))


if __name__ == "__main__":
    main()
