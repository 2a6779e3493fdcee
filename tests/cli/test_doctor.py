"""`tunedb doctor`: what is found on a machine, and what is wrong, with the remedy."""

import json
import os

import pytest
from click.testing import CliRunner

from tunedb.cli import health, main
from tunedb.measure import absent_gpu
from tunedb.measure.absent_gpu import Absence
from tunedb.store import files


@pytest.fixture
def doctor(monkeypatch, shelf, tmp_path):
    """The command on a machine without a GPU, with a cache of the test."""
    for name in health.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(absent_gpu, "absence", lambda: Absence("this machine has no NVIDIA GPU", ""))
    return lambda *arguments: CliRunner().invoke(main, ["doctor", *arguments])


def test_a_sound_machine(doctor, shelf, record, fake_kernel):
    """Versions, GPU, files in their order, cache and variables are said; nothing is wrong, status 0."""
    pytest.importorskip("triton")
    shelf.put(record, record._replace(device="4090", kernel_hash="old"))
    shelf.put(record, ship="h200")
    result = doctor()
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    for text in ("tunedb 0.1.0", "none: this machine has no NVIDIA GPU; times for any GPU can be predicted",
                 f"{shelf.user}: yours, 2 records, 1 stale, can be written",
                 f"{shelf.shipped['h200']}: comes with tunedb, 1 record, 0 stale, can be written",
                 f"TRITON_CACHE_DIR={os.environ['TRITON_CACHE_DIR']}", "nothing"):  # fmt: skip
        assert text in lines
    assert lines.index(f"{shelf.user}: yours, 2 records, 1 stale, can be written") < len(lines) - 1
    assert f"tunedb prune --db {shelf.user}" in result.output
    found = json.loads(doctor("--json").stdout)
    assert [one["records"] for one in found["files"]] == [2, 1]
    assert (found["wrong"], found["gpus"], found["triton_cache_writable"]) == ([], [], True)
    assert set(found["versions"]) == {"tunedb", "python", "triton", "torch", "cudnn", "driver"}


def wrong(result):
    assert result.exit_code == 1
    return " ".join(result.output.partition("Wrong:")[2].split())


def test_a_broken_driver(doctor, monkeypatch):
    """A GPU that cannot be used is wrong, and has a remedy."""
    broken = Absence("an NVIDIA driver is here, but CUDA cannot use it: too old", "Update the driver.")
    monkeypatch.setattr(absent_gpu, "absence", lambda: broken)
    assert wrong(doctor()).startswith("An NVIDIA driver is here, but CUDA cannot use it: too old. Update the driver.")  # fmt: skip


def test_a_damaged_database(doctor, shelf):
    """A database that cannot be read is wrong, and named."""
    shelf.user.write_text("nonsense " * 200)
    files.reload()
    result = doctor()
    assert f"{shelf.user}: yours, CANNOT be read" in result.output
    assert "must be a sound SQLite file" in wrong(result)


def test_a_name_in_tunedb_path_without_a_file(doctor, shelf, monkeypatch):
    """TUNEDB_PATH must name files; the user's own that is not there yet is as it should be."""
    assert "not there yet, a sweep makes it" in doctor().output
    monkeypatch.setenv("TUNEDB_PATH", str(shelf.user))
    assert f"TUNEDB_PATH names {shelf.user}, which is no file" in wrong(doctor())


def test_a_cache_that_cannot_be_written(doctor, monkeypatch, tmp_path):
    """Triton's cache must be writable: the remedy is TRITON_CACHE_DIR."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "name another one in TRITON_CACHE_DIR" in wrong(doctor())


def test_the_interpreter_is_no_place_to_measure(doctor, monkeypatch):
    """TRITON_INTERPRET makes every kernel run in Python."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "TRITON_INTERPRET runs kernels in an interpreter" in wrong(doctor())
