"""The command `tunedb profile`, with what ncu would count in place of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunedb.cli import main
from tunedb.device import by_slug
from tunedb.errors import DeviceError
from tunedb.kernel import source_hash
from tunedb.measure import ncu
from tunedb.store.profile import Launch
from tunedb.store.read import Database
from tunedb.suite import load_suite
from tunedb.tune import selection
from tunedb.tune.selection import Target

LAYERS = {entry.id: entry.problem("float16", "ieee") for entry in load_suite("kernelbench")}
LAUNCH = Launch("packed", 120_000.0, 45.0, 83.2, 40.0, 61.5, 25.0, 528.0, 168.0, 49152.0)


@pytest.fixture
def command(shelf, monkeypatch):
    """Run the command on an H100 whose file has three layers of kernelbench in float16; torch won one, and one cannot be called."""
    known = Database(Path(__file__).parents[2] / "db" / "h200.sqlite").record(LAYERS["kb81"], "h200")
    own = known._replace(device="h100")
    shelf.put(
        own,
        own._replace(problem=LAYERS["kb75"], config='{"broken":1}'),
        own._replace(problem=LAYERS["kb77"], kernel="aten", config="{}", kernel_hash=source_hash("aten")),
        own._replace(problem=LAYERS["kb78"], kernel_hash="older"),
        ship="h100",
    )
    monkeypatch.setattr("tunedb.store.files.user_file", lambda: shelf.user)
    monkeypatch.setattr(selection, "target", lambda *_: Target(by_slug("h100"), "measured", (0,)))
    monkeypatch.setattr(ncu, "version", lambda: "2025.3.1.0")
    monkeypatch.setattr(
        ncu, "counted", lambda jobs, _: [() if "broken" in config else (LAUNCH,) for *_, config in jobs]
    )
    return lambda *arguments: CliRunner().invoke(main, ["profile", *arguments, "--dtype", "float16", "--layout", "channels_first"])  # fmt: skip


def test_what_limits_a_winner_is_said_and_kept(command, shelf):
    """The user's database gets the record with its counters, the shipped one stays; show and explain say it then."""
    before = shelf.shipped["h100"].read_bytes()
    result = command("kb81")
    assert result.exit_code == 0, result.output
    assert "limited by memory, at 83 % of the peak" in result.output
    assert shelf.shipped["h100"].read_bytes() == before
    file = Database(shelf.user)
    assert [one.launches for one in file.profiles()] == [(LAUNCH,)]
    assert file.profile(file.records()[0]) is not None
    file.close()
    for asked in (["show", "kb81"], ["explain", "kb81", "--device", "h100", "--dtype", "float16"]):
        said = CliRunner().invoke(main, asked)
        assert "limited by memory, at 83 % of the peak" in said.output, said.output
        data = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
        assert any(one["launches"] and one["launches"][0]["dram"] == 83.2 for one in data)


def test_a_suite_is_profiled_as_far_as_it_can_be(command):
    """Only fresh winners of our own kernels; one that cannot be called costs the exit status and nothing else."""
    result = command("--suite", "kernelbench", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert {one["label"].split()[0]: one["limit"] for one in data} == {
        "kb75": None,
        "kb81": "limited by memory, at 83 % of the peak",
    }


def test_what_cannot_be_profiled_is_refused(command, monkeypatch):
    """Nothing named, no record that can be called, another machine, no ncu: each is said with what to do."""
    assert "needs an id" in command().output
    assert "sweep first" in command("kb77").output
    monkeypatch.setattr(selection, "target", lambda *_: Target(by_slug("4090"), "predicted", ()))
    assert "this machine has no 4090" in command("kb81").output
    monkeypatch.setattr(selection, "target", lambda *_: Target(by_slug("h100"), "measured", (0,)))

    def missing():
        raise DeviceError("ncu must be on the PATH")

    monkeypatch.setattr(ncu, "version", missing)
    result = command("kb81")
    assert result.exit_code == 2
    assert "ncu must be on the PATH" in result.output
