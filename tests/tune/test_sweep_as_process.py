"""Sweeps as processes of their own: ended by Ctrl-C or kill, taken over, and resumed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import landscape
import pytest
from fake_sweep import executed
from processes import alive, descendants

from tunedb.store.read import Database

SCRIPT = """
import fcntl
import os
import resource
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import landscape
from fake_sweep import DEVICE, LIMITS, PARTS
from tunedb.errors import StorageError
from tunedb.tune.progress import PlainProgress
from tunedb.tune.settings import Settings
from tunedb.tune.sweep import sweep

if __name__ == "__main__":
    if os.environ.get("BYTES"):  # no file may grow beyond: what a full disk does to a history
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["BYTES"]),) * 2)
    problems = [landscape.problem("conv2d", in_w=width, n=40) for width in (16, 32)]
    settings = Settings(DEVICE, "measured", 15, "history.journal", Path("answers.sqlite"), workers=1, parts=PARTS, limits=LIMITS)
    try:
        summary = sweep(problems, settings, progress=PlainProgress(sys.stdout))
    except StorageError as error:
        print("error:", error)
        sys.exit(1)
    sys.exit(0 if summary.complete else 3)
"""
PROBLEMS = [landscape.problem("conv2d", in_w=width, n=40) for width in (16, 32)]


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Start the script as a process of its own, in a folder of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1] / "support")))
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))
    started = []

    def launch():
        process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_ctrl_c_ends_a_sweep_that_can_be_continued(launch, tmp_path):
    """Ctrl-C leaves no child and no traceback; the next sweep repeats at most the trial that was running."""
    first = launch()
    until(lambda: len(executed(tmp_path)) >= 8)
    children = descendants(first.pid)
    assert len(children) >= 3
    os.killpg(first.pid, signal.SIGINT)
    output, _ = first.communicate(timeout=20)
    assert not alive(children)
    assert first.returncode == 3
    assert "stopped: interrupted" in output
    assert "Traceback" not in output
    second = launch()
    output, _ = second.communicate(timeout=180)
    assert second.returncode == 0, output
    assert 30 <= len(executed(tmp_path)) <= 31
    answers = Database(tmp_path / "answers.sqlite")
    assert all(answers.record(problem, "h200").trials == 15 for problem in PROBLEMS)


def test_a_second_worker_shares_the_work_and_takes_over_from_a_killed_one(launch, tmp_path):
    """Two sweeps on one storage share the trials; after kill -9 of one the other ends with every answer."""
    first, second = launch(), launch()
    until(lambda: len({pid for pid, *_ in executed(tmp_path)}) == 2)
    children = descendants(first.pid)
    first.kill()
    until(lambda: not alive(children), 3.0)
    output, _ = second.communicate(timeout=180)
    assert second.returncode == 0, output
    assert "2 problems: 2 done" in output
    assert 30 <= len(executed(tmp_path)) <= 31


def test_a_full_disk_ends_a_sweep_with_one_message(launch, tmp_path, monkeypatch):
    """Where the history cannot grow, the sweep says so once and leaves whole lines; with room again it resumes."""
    history = tmp_path / "history.journal"
    line = b'{"op_code":2,"worker_id":"x","study_id":-1,"user_attr":{"a":1}}\n'
    history.write_bytes(line * 40_000)
    monkeypatch.setenv("BYTES", str(history.stat().st_size + 12_000))
    first = launch()
    output, _ = first.communicate(timeout=180)
    assert first.returncode == 1, output
    assert output.count("make room") == 1
    assert "Traceback" not in output
    assert history.read_bytes().endswith(b"\n")
    done = len(executed(tmp_path))
    assert 0 < done < 30
    monkeypatch.delenv("BYTES")
    second = launch()
    output, _ = second.communicate(timeout=180)
    assert second.returncode == 0, output
    assert 30 <= len(executed(tmp_path)) <= 31


def test_a_lock_that_is_never_given_back_does_not_hold_a_sweep(launch, tmp_path):
    """While a stopped process holds the history, Ctrl-C still ends the sweep, within seconds and with one message."""
    sweep = launch()
    until(lambda: len(executed(tmp_path)) >= 3)
    with (tmp_path / "history.journal.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        time.sleep(0.5)
        sweep.send_signal(signal.SIGINT)
        output, _ = sweep.communicate(timeout=20)
    assert sweep.returncode == 1, output
    assert output.count("another process has held") == 1
    assert "Traceback" not in output
