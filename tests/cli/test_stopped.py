"""How a command that is stopped ends: 130 after Ctrl-C, 143 after SIGTERM, with what a sweep has found kept."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from click.testing import CliRunner

import tunedb.tune.sweep
from tunedb.cli import main
from tunedb.tune.summary import Summary

SHAPE = ["--op", "conv_transpose2d", "--x", "16x32x64x128", "--w", "32x64x3x3", "--device", "4090"]


@pytest.mark.parametrize(("ended", "status"), [("interrupted", 130), ("terminated", 143), ("", 0)])
def test_a_sweep_ends_with_the_status_of_its_stop(monkeypatch, tmp_path, ended, status):
    """The exit status of a sweep says which signal ended it."""
    monkeypatch.setattr(
        tunedb.tune.sweep,
        "sweep",
        lambda problems, *_, **__: Summary(
            {}, dict.fromkeys(problems, "done"), {}, {}, {}, 0, Counter(), 0.0, 0, ended
        ),
    )
    result = CliRunner().invoke(main, ["sweep", *SHAPE, "--db", str(tmp_path / "a.sqlite")])
    assert result.exit_code == status


def test_ctrl_c_outside_a_sweep_ends_with_130(monkeypatch):
    """Ctrl-C ends any command with one message and 130."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tunedb.store.listing.count", stop)
    result = CliRunner().invoke(main, ["ls"])
    assert result.exit_code == 130
    assert result.stderr == "Error: stopped by Ctrl-C.\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_real_sweep(tmp_path, number, status):
    """The first line comes before torch is imported; after a signal the sweep says how to go on, and has its status."""
    command = [sys.executable, "-m", "tunedb", "sweep", *SHAPE, "--trials", "500", "--db", "a.sqlite"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout.readline() == "Sweeping 4 problems; looking for a GPU …\n"
    lines = []
    while not (lines and lines[-1].startswith("4 problems, 0 of them done")):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    assert "times are PREDICTED by a model" in lines[0]
    assert "GPU 0" not in "".join(lines)
    time.sleep(1.0)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    assert "Traceback" not in output
    assert output.rstrip().endswith("The same command resumes where this one stopped.")
