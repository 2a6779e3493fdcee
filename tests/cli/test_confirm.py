"""The command `tunedb confirm`, on the recorded landscape in place of a GPU."""

import json

import landscape
import pytest
from click.testing import CliRunner
from fake_sweep import DEVICE, LIMITS, PARTS
from stored_answers import answer, config, put

from tunedb.cli import main
from tunedb.store.read import Database
from tunedb.tune import confirm as confirmation
from tunedb.tune import selection
from tunedb.tune.selection import Target

PROBLEM = landscape.problem(n=1)
FAST, ROWS = ("alpha", config()), ("alpha", config(ORDER="row"))


@pytest.fixture
def command(shelf, monkeypatch):
    """Run the command; the GPU of this machine is a landscape."""
    real = confirmation.confirm
    monkeypatch.setenv("TUNEDB_PATH", str(shelf.user))
    monkeypatch.setattr("tunedb.store.files.user_file", lambda: shelf.user)
    monkeypatch.setattr(selection, "target", lambda *_: Target(DEVICE, "measured", (0,)))
    monkeypatch.setattr(
        confirmation,
        "confirm",
        lambda settings, **rest: real(settings._replace(parts=PARTS, limits=LIMITS, workers=1), **rest),
    )
    shelf.shipped["h200"] = shelf.folder / "h200.sqlite"
    put(shelf.shipped["h200"], answer(PROBLEM, ROWS), ROWS, FAST)
    put(shelf.user, answer(landscape.problem(c_out=50)), FAST, ("vanished", "{}"))
    return lambda *arguments: CliRunner().invoke(main, ["confirm", *arguments])


def test_it_says_what_changed_and_what_to_send(command, shelf):
    """The summary has the ratios, the answers that changed, who was refused and why, and the file to send."""
    result = command()
    assert result.exit_code == 0, result.output
    assert "predicted times: 2 problems, measured / stored 1.34 at the median, 1.44 at worst" in result.output
    assert "answers: 0 kept, 2 changed, 1 of them to torch" in result.output
    assert "candidates refused: 1 invalid" in result.output
    assert "vanished {}: invalid: no kernel named vanished is installed" in result.output
    assert f"send {shelf.folder / 'user.confirmed.h200.txt'} and {shelf.user}." in result.output
    assert {one.provenance for one in Database(shelf.user).records()} == {"measured"}
    again = command()
    assert "0 problems confirmed, 2 before under the same versions" in again.output


def test_json(command, shelf):
    """The object has the summary's numbers and each problem with its stored and its new record."""
    result = command("--json", "--candidates", "1")
    data = json.loads(result.stdout)
    assert (data["device"], data["provenance"], data["exit_status"]) == ("h200", "measured", 0)
    assert data["versions"] == landscape.ENVIRONMENT
    assert (data["changed"], data["to_torch"], data["confirmed_before"], data["without_record"]) == (
        1,
        1,
        0,
        0,
    )
    assert data["text"] == str(shelf.folder / "user.confirmed.h200.txt")
    (ratios,) = data["ratios"]
    assert (ratios["provenance"], ratios["problems"]) == ("predicted", 2)
    entry = next(one for one in data["problems"] if one["problem"]["c_out"] == 1000)
    assert (entry["state"], entry["changed"], entry["refused"]) == ("done", False, [])
    assert (entry["stored"]["time_us"], entry["record"]["time_us"]) == (80.0, pytest.approx(115.0))
    assert entry["ratio"] == pytest.approx(115 / 80)


def test_a_suite_gives_problems_calls_and_labels(command, tmp_path):
    """A captured suite confirms its own layers only, under their names."""
    layer = {
        "id": "mine.up", "op": "conv2d", "n": 1, "c_in": 8, "c_out": 1000, "spatial_in": 64, "kernel": 3, "bias": False,
        "dtype": "float16", "precision": "ieee", "layout": "channels_first", "calls": 4, "modules": ["up"],
    }  # fmt: skip
    suite = tmp_path / "model.json"
    suite.write_text(json.dumps([layer]))
    command_line = ("--suite", str(suite), "--json")
    (entry,) = json.loads(command(*command_line).stdout)["problems"]
    assert (entry["label"], entry["problem"]["c_out"]) == ("mine.up", 1000)


def test_a_machine_without_the_gpu_is_refused(tmp_path):
    """Nothing is predicted in its place: the message says that it needs the GPU itself."""
    result = CliRunner().invoke(main, ["confirm", "--device", "5090"])
    assert result.exit_code == 2
    assert "times must be confirmed on the GPU itself, but 5090 is not here" in result.stderr
