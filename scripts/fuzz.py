"""Feed tunedb mutated inputs for as long as you like; prints one JSON object last.

    python scripts/fuzz.py databases --seconds 600 --seed 1 --out out/fuzz

Each trial has a seed of its own, the first one --seed and then one more each: `--seed 17 --trials 1` repeats a trial. What
gave way is kept in the folder --out: the input, and what happened. The exit status is 1 if anything did.
"""

import argparse
import contextlib
import importlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from fuzz.trial import Trial

TARGETS = ("databases", "journals", "suites", "command_lines", "kills")
HANG_SECONDS = 180  # after which a trial counts as hanging


def main() -> int:
    """Run trials of a target until the time or their number is used up."""
    given = _arguments()
    target = importlib.import_module(f"fuzz.{given.target}")
    signal.signal(signal.SIGALRM, _hangs)
    failed, figures, kinds, begun = [], {}, Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        trial = (
            target.prepare(Path(name))
            if hasattr(target, "prepare")
            else _plain(given.target, target.run, Path(name))
        )
        number = 0
        while number < given.trials and (number == 0 or time.monotonic() - begun < given.seconds):
            seed = given.seed + number
            signal.alarm(HANG_SECONDS)
            found = trial(seed)
            signal.alarm(0)
            number += 1
            kinds[found.kind] += 1
            for key, value in found.figures.items():
                figures[key] = max(figures.get(key, 0.0), value)
            if found.failure:
                failed.append(seed)
                _keep(found, given.out / f"{given.target}-{seed}")
                print(f"seed {seed}, {found.kind}: {found.failure}", flush=True)
    result = {
        "target": given.target, "seed": given.seed, "trials": number, "seconds": round(time.monotonic() - begun, 1), "failed": failed,
        "kinds": dict(sorted(kinds.items())), "largest": {key: round(value, 3) for key, value in figures.items()},
    }  # fmt: skip
    print(json.dumps(result))
    return 1 if failed else 0


def _plain(name: str, run: Callable[[random.Random, Path], str], folder: Path) -> Callable[[int], Trial]:
    """Return the trial of a target that only says what failed; the files of each are in a folder of its own."""

    def trial(seed: int) -> Trial:
        own = folder / "trial"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        return Trial(run(random.Random(seed), own), own, {}, name)

    return trial


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="start no trial after that long (default 60)"
    )
    parser.add_argument("--trials", type=float, default=float("inf"), help="run at most that many")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="folder for what gave way (default out/fuzz)")  # fmt: skip
    return parser.parse_args()


def _keep(found: Trial, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.move(found.kept, folder)
    folder.mkdir(exist_ok=True)
    (folder / "failure.txt").write_text(found.failure, encoding="utf-8")


def _hangs(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise TimeoutError(f"the trial takes longer than {HANG_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
