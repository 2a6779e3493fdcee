"""Sweeps that are killed at random moments: none loses a trial, none makes one twice, and no child lives on.

The sweep is that of the tests: a recorded landscape stands in for kernels, compiler and GPU.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

__all__ = ["run"]

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
TRIALS, CHILDREN_S = 15, 2.0
LATEST_S = 6.0  # of a kill after the start: half of them come while the first processes still import
SWEEP = """
import sys
from pathlib import Path
sys.path.insert(0, {support!r})
import landscape
from fake_sweep import DEVICE, LIMITS, PARTS
from tunedb.tune.settings import Settings
from tunedb.tune.sweep import sweep

problems = [landscape.problem("conv2d", in_w=width, n=10) for width in (16, 32)]
settings = Settings(DEVICE, "measured", {trials}, "history.journal", Path("answers.sqlite"), workers=1, parts=PARTS, limits=LIMITS)
sys.exit(0 if sweep(problems, settings).complete else 3)
"""


def run(random: random.Random, folder: Path) -> str:
    """Kill one sweep one to three times, then let it end. Returns what went wrong, or an empty text."""
    sys.path.insert(0, str(SUPPORT))
    from processes import alive, descendants

    script = folder / "sweep.py"
    script.write_text(SWEEP.format(support=str(SUPPORT), trials=TRIALS), encoding="utf-8")
    kills = random.randint(1, 3)
    for _ in range(kills):
        process = _started(script)
        time.sleep(random.uniform(0, LATEST_S))
        children = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        begin = time.monotonic()
        while left := alive(children):
            if time.monotonic() - begin > CHILDREN_S:
                return f"children {left} live on for {CHILDREN_S} s"
            time.sleep(0.02)
    process = _started(script)
    output, _ = process.communicate(timeout=120)
    text = output.decode(errors="replace")
    if process.returncode or "Traceback" in text:
        return f"the last sweep ended with {process.returncode}: {text}"
    return _lost(folder, kills)


def _lost(folder: Path, kills: int) -> str:
    """Compare the trials that began with those that the history has."""
    import optuna

    begun = (folder / "log").read_text(encoding="utf-8").splitlines()
    repeated = len(begun) - 2 * TRIALS
    if repeated > kills:
        return f"{repeated} trials were repeated after {kills} kills: one a kill at most is allowed"
    from tunedb.tune.journal_file import open_journal

    for summary in optuna.get_all_study_summaries(storage=open_journal(str(folder / "history.journal"))):
        study = optuna.load_study(
            study_name=summary.study_name, storage=open_journal(str(folder / "history.journal"))
        )
        tried = Counter((one.user_attrs["kernel"], one.user_attrs["config"]) for one in study.get_trials())
        if len(tried) != TRIALS or max(tried.values()) > 1:
            return f"{summary.study_name}: {tried.total()} trials, {len(tried)} of them different, where {TRIALS} were asked for"
    return ""


def _started(script: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"LANDSCAPE_LOG": str(script.with_name("log")), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # fmt: skip
    return subprocess.Popen(  # noqa: S603 (this interpreter, on a script of our own)
        [sys.executable, str(script)],
        cwd=script.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
