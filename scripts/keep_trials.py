"""Keep what sweeps have measured: histories and databases of one device become one table under benchmarks/trials/.

    python scripts/keep_trials.py h200 --db db/h200.sqlite
    python scripts/keep_trials.py h100 --db db/h100.sqlite --history out/h100.history.log --suite out/suites/*.json

A history has every trial and torch's time where a sweep only looked; a database has the best few of each search and torch's time.
What the table already has is kept, unless --fresh is given; scripts/trials/table.py says what its columns are. --suite names the
captured models, so that a row says which of them has the layer, or the zoo; the shipped suites are known. A history is read from a copy,
because opening one cuts off a broken last line. Of a GPU that ran older code, what calls torch is left out: that was the GPU's own code. The last line of stdout is one JSON object.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trials.histories import opened_copy
from trials.models import weight_of
from trials.table import DOUBTFUL, Row, read, write
from trials.timed import rows as timed_rows

from tunedb import kernel as kernels
from tunedb.device import Device, by_slug
from tunedb.problem import Problem, checked
from tunedb.record import Tried
from tunedb.store.read import Database
from tunedb.suite import load_suite, shipped_suites
from tunedb.tune.journal import History, study_name
from tunedb.tune.predict.formula import runs_as
from tunedb.tune.space import searched

ROOT = Path(__file__).resolve().parents[1]
LATE = 1.25
# Behind op, dtype, precision and layout: a layer of a shipped suite stands for all dtypes and layouts.
_SIZES = Problem._fields.index("n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", help="its slug: h100, h200, ...")
    parser.add_argument("--history", type=Path, nargs="*", default=[], help="Optuna journals of sweeps")
    parser.add_argument("--db", type=Path, nargs="*", default=[], help="databases of sweeps")
    parser.add_argument(
        "--timed", type=Path, nargs="*", default=[], help="what scripts/time_untimed.py wrote"
    )
    parser.add_argument("--suite", type=Path, nargs="*", default=[], help="captured models, a JSON file each")
    parser.add_argument("--out", type=Path, help="the table; default: benchmarks/trials/DEVICE.csv.gz")
    parser.add_argument("--fresh", action="store_true", help="leave out what the table already has")
    given = parser.parse_args(argv)
    device, models = by_slug(given.device), known_models(given.suite)
    out = given.out or ROOT / "benchmarks" / "trials" / f"{device.slug}.csv.gz"
    rows = [known(row, models) for row in read(out)] if out.exists() and not given.fresh else []
    for path in given.db:
        rows += of_database(path, device, models)
    for path in given.history:
        rows += of_history(path, device, models)
    for path in given.timed:
        rows += (
            row for row in timed_rows(path, lambda one: models_of(one, models)) if row.device == device.slug
        )
    count = write(
        out, [row for row in rows if row.kernel == "aten" or runs_as(kernels.load(row.kernel), device)]
    )
    statuses = Counter(row.status for row in read(out))
    print(json.dumps({"table": str(out), "rows": count, "bytes": out.stat().st_size, **statuses}))
    return 0


def known(row: Row, models: Mapping[tuple[Any, ...], set[str]]) -> Row:
    """Return a row of the table with the models of today's suites beside those that it was written with."""
    return row._replace(models=tuple(sorted({*row.models, *models_of(row.problem, models)})))


def known_models(suites: Sequence[Path]) -> dict[tuple[Any, ...], set[str]]:
    """Return which models have a layer, in any dtype and layout, by its keys."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for suite in (*shipped_suites(), *suites):
        raw = json.loads(suite.read_text()) if isinstance(suite, Path) else shipped(suite)
        for entry, layer in zip(load_suite(suite), raw, strict=True):
            for key in layer_keys(entry.problem()):
                found.setdefault(key, set()).update(names_of(suite, entry.id, layer))
    return found


def names_of(suite: str | Path, identity: str, layer: Mapping[str, Any]) -> list[str]:
    """Return the models of a suite's layer: its own, the zoo's networks, or what the suite is called."""
    note = layer.get("note")
    if isinstance(note, dict) and note.get("networks"):
        return list(note["networks"])
    named = suite.stem.partition("-")[0] if isinstance(suite, Path) else f"{suite} {identity}"
    return [layer.get("model") or named]


def shipped(name: str) -> list[dict[str, Any]]:
    from importlib.resources import files

    found: list[dict[str, Any]] = json.loads(files("tunedb.suites").joinpath(f"{name}.json").read_text())
    return found


def layer_keys(problem: Problem) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what a problem's layer is known by: its sizes without batch and bias, or those of its weight alone."""
    return (problem.op, *problem._replace(n=1, bias=0)[_SIZES:]), weight_of(problem)


def models_of(problem: Problem, models: Mapping[tuple[Any, ...], set[str]]) -> tuple[str, ...]:
    """Return the models that have the layer; where none has these extents, those that have its weight."""
    found = (models.get(key) for key in layer_keys(problem))
    return tuple(sorted(next(filter(None, found), ())))


def of_database(path: Path, device: Device, models: Mapping[tuple[Any, ...], set[str]]) -> Iterator[Row]:
    """Yield the measured winners, their candidates and torch's time of a database."""
    file = Database(path)
    for record in file.records():
        if record.device != device.slug or record.provenance != "measured":
            continue
        own = models_of(record.problem, models)

        def row(kernel: str, config: str, status: str, time_us: float | None, code: str) -> Row:
            return Row(
                device.slug, record.problem, kernel, config, code, status, time_us, record.aten_us, "final", own, path.name  # noqa: B023 (called before the loop goes on)
            )  # fmt: skip

        if record.aten_us is not None:
            yield row("aten", "{}", "ok", record.aten_us, "")
        if record.kernel != "aten":
            yield row(record.kernel, record.config, "ok", record.time_us, record.kernel_hash)
        fresh = not kernels.is_stale(record.kernel, record.kernel_hash)
        for tried in file.top(record.problem, record.device):
            # The candidates of a record were timed with the code of their day, the winner's: what is fresh of one is of all.
            code = kernels.source_hash(tried.kernel) if fresh else ""
            found = row(tried.kernel, tried.config, tried.measurement.status, tried.measurement.time_us, code)
            yield found._replace(registers=tried.measurement.registers, spills=tried.measurement.spills)


def of_history(path: Path, device: Device, models: Mapping[tuple[Any, ...], set[str]]) -> Iterator[Row]:
    """Yield every trial of a history, and torch's time where it was only looked at."""
    with opened_copy(path) as history:
        busy = busy_hours(history)
        for name, facts, past in history.every():
            if (facts.get("device"), facts.get("provenance")) != (device.slug, "measured"):
                continue
            problem = checked(Problem(**facts["problem"]))
            own = models_of(problem, models)
            aten_us = ((facts.get("result") or {}).get("record") or {}).get("aten_us")
            # The study's name has the hashes of the code that made its trials.
            space = searched(problem, device, kernels, measured=True)
            fresh = study_name(space, "measured", kernels, "") == name
            for run, torch in (("final", aten_us), ("look", past.looked)):
                if torch is not None:
                    yield Row(
                        device.slug, problem, "aten", "{}", "", "ok", torch, aten_us, run, own, path.name
                    )
            tries = past.tried()
            late = waited_for_host(tries, facts.get("result") or {})
            for tried, hour in zip(tries, past.hours(), strict=True):
                code = kernels.source_hash(tried.kernel) if fresh else ""
                fine = tried.measurement.status == "ok"
                yield Row(
                    device.slug, problem, tried.kernel, tried.config, code, DOUBTFUL if fine and (late or hour in busy) else tried.measurement.status,
                    tried.measurement.time_us, aten_us, "search", own, path.name, tried.measurement.registers, tried.measurement.spills,
                )  # fmt: skip


def busy_hours(history: History) -> set[str]:
    """Return the hours in which more than one search of twenty timed its host: no trial of such an hour is trusted."""
    searches, late = Counter[str](), Counter[str]()
    for _, facts, past in history.every():
        hours = set(past.hours())
        searches.update(hours)
        late.update(hours if waited_for_host(past.tried(), facts.get("result") or {}) else ())
    return {hour for hour in searches if 20 * late[hour] > searches[hour]}


def waited_for_host(tries: Sequence[Tried], result: Mapping[str, Any]) -> bool:
    """Return whether a search timed its host: a finalist was slower in the search than in the final run by more than LATE.

    Before the bench dropped late repetitions, a busy host added 0.4 to 0.7 ms to whole searches (docs/experiments.md).
    """
    final = {(kernel, config): told.get("time_us") for kernel, config, told in result.get("top", ())}
    pairs = ((one.measurement.time_us, final.get(one.choice)) for one in tries)
    return any(search > LATE * last for search, last in pairs if search and last)


if __name__ == "__main__":
    raise SystemExit(main())
