"""--json prints one JSON value on standard output and nothing else there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunedb.cli import main
from tunedb.store.write import Store

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def kept(shelf, record, candidate, fake_kernel):
    with Store(shelf.user) as store:
        store.put(record, [candidate])
    return shelf.user


def test_ls(kept):
    """An array with an object for each device and operation of a file."""
    (found,) = json.loads(run("ls", "--json").stdout)
    assert found == {
        "path": str(kept), "device": "h200", "op": "conv_transpose2d", "records": 1, "measured": 1, "predicted": 0,
        "wins": 1, "speedup": pytest.approx(2.0), "stale": 0,
    }  # fmt: skip
    assert json.loads(run("ls", "--json", kept.parent / "none.sqlite").stdout or "[]") == []


def test_show(kept):
    """An array with an object for each record, its problem, and its candidates."""
    (found,) = json.loads(run("show", "kb81", "--json").stdout)
    assert (found["device"], found["time_us"], found["stale"]) == ("h200", 100.0, False)
    assert found["problem"]["in_w"] == 128
    assert found["candidates"][0]["time_us"] == 110.0


def test_explain(kept):
    """An array with an object for each layer; a config is an object too."""
    (found,) = json.loads(run("explain", "kb81", "--device", "h200", "--json").stdout)
    assert (found["label"], found["tier"], found["kernel"], found["expected_us"]) == ("kb81", "exact", "fake", 100.0)  # fmt: skip
    assert found["config"] == {"BLOCK": 64, "ORDER": "m"}
    assert found["record"]["driver"] == "580.1"
    assert len(json.loads(run("explain", "--suite", "kernelbench", "--device", "h200", "--json").stdout)) == 37  # fmt: skip


def test_errors_leave_standard_output_empty(kept):
    """What goes wrong is said on standard error."""
    result = run("show", "kb81", "--device", "foo", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "device: h200" in result.stderr


def test_sweep(tmp_path):
    """A whole sweep prints its object alone, though compilers and progress speak; it says what it came to."""
    shape = ["--op", "conv1d", "--x", "1x4x64", "--w", "8x4x3", "--dtype", "float32", "--device", "4090"]
    done = subprocess.run(
        [sys.executable, "-m", "tunedb", "sweep", *shape, "--trials", "2", "--db", tmp_path / "a.sqlite", "--json"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["device"], found["provenance"], found["gpus"]) == ("4090", "predicted", [])
    assert found["exit_status"] == 0
    (problem,) = found["problems"]
    assert (problem["state"], problem["record"]["provenance"]) == ("done", "predicted")
    assert "PREDICTED" in done.stderr


def test_the_names_are_documented(kept):
    """docs/command-line.md names every field of ls, show and explain."""
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    for arguments in (["ls"], ["show", "kb81"], ["explain", "kb81", "--device", "h200"], ["doctor"]):
        value = json.loads(run(*arguments, "--json").stdout)
        found = set(value[0] if isinstance(value, list) else value)
        assert found <= named, found - named
