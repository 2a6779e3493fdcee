"""Mutated database files: lookups end in time and answer, commands say what is wrong."""

import os
import random
import shutil
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from fuzz.mutations import mutate
from fuzz.trial import Trial
from tunedb.device import by_slug
from tunedb.dispatch.lookup import TIERS, answer
from tunedb.errors import TunedbWarning
from tunedb.problem import Problem
from tunedb.store import files
from tunedb.store.files import shipped_files
from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.suite import load_suite

__all__ = ["prepare"]

SECONDS = 2.0  # of one lookup, at most
RECORDS = 40
H200 = by_slug("h200")


def prepare(folder: Path) -> Callable[[int], Trial]:
    """Return the function that mutates a sound file by a seed, and looks up, lists, shows, merges and reports it."""
    sound = folder / "sound.sqlite"
    known = _fill(sound)
    _look_up(sound, known)  # so that imports are not timed

    def trial(seed: int) -> Trial:
        chance, place = random.Random(seed), folder / "trial"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path = place / "mutated.sqlite"
        shutil.copy(sound, path)
        kind = mutate(path, chance)
        kept = shutil.copytree(place, folder / "kept", dirs_exist_ok=False)
        try:
            failure, figures = _look_up(path, known)
            failure = failure or _commands(path, place)
        except Exception:  # noqa: BLE001 (any exception is what is looked for)
            failure, figures = traceback.format_exc(), {}
        if not failure:
            shutil.rmtree(kept)
        return Trial(failure, kept, figures, kind)

    return trial


def _fill(path: Path) -> Problem:
    """Write some of the shipped records with their candidates; return a problem that the shipped file answers too."""
    source = Database(shipped_files()["h200"], immutable=True)
    records = source.records()[:: max(1, len(source.records()) // RECORDS)]
    with Store(path) as store:
        for record in records:
            store.put(record, source.top(record.problem, record.device))
        store.put(records[0]._replace(device="4090"))
        store.add_suite("kernelbench", load_suite("kernelbench")[:5])
    return records[0].problem


def _look_up(path: Path, known: Problem) -> tuple[str, dict[str, float]]:
    """Return what is wrong with the answers while the file is the first that answers, and the longest of the lookups."""
    before = os.environ.get("TUNEDB_PATH")
    os.environ["TUNEDB_PATH"] = str(path)
    files.reload()
    half = {"dtype": "bfloat16", "precision": "ieee"}
    asked = (
        known,
        known._replace(n=known.n + 1),
        known._replace(n=known.n + 1, **half),
        known._replace(c_out=known.c_out * 2),
    )
    longest = 0.0
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for problem in asked:
                begun = time.perf_counter()
                found = answer(problem, H200)
                longest = max(longest, time.perf_counter() - begun)
                if found.tier not in TIERS or (problem == known and found.tier != "exact"):
                    return f"the next tier did not answer: {found}", {"lookup_s": longest}
        strange = [str(one.message) for one in caught if not issubclass(one.category, TunedbWarning)]
        late = f"a lookup took {longest:.2f} s" if longest > SECONDS else ""
        return late or "; ".join(strange), {"lookup_s": longest, "warnings": len(caught)}
    finally:
        files.reload()
        if before is None:
            del os.environ["TUNEDB_PATH"]
        else:
            os.environ["TUNEDB_PATH"] = before


def _commands(path: Path, folder: Path) -> str:
    from click.testing import CliRunner

    from tunedb.cli import main

    lines = (
        ["ls", path], ["show", "kb50", "--db", path], ["report", "--db", path], ["merge", path, "--db", folder / "into.sqlite"],
        ["ls", folder / "into.sqlite"],
    )  # fmt: skip
    for line in lines:
        words = [str(word) for word in line]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TunedbWarning)
            result = CliRunner().invoke(main, words)
        if (
            not (result.exception is None or isinstance(result.exception, SystemExit))
            or "Traceback" in result.output
        ):
            trace = "".join(traceback.format_exception(result.exception))
            return f"tunedb {' '.join(words)}: {result.output}{trace}"
    return ""
