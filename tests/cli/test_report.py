"""The command that says what records are worth: of suites and of databases, as table, JSON and page."""

import json
import os

import pytest
from click.testing import CliRunner

from tunedb.cli import main
from tunedb.store import files
from tunedb.store.write import Store


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(main, ["report", *map(str, arguments)])

    return invoke


@pytest.fixture
def kb81(record):
    """The layer of kernelbench that `record` is of."""
    return record._replace(time_us=1000.0, aten_us=2000.0)


FLOAT32 = ("--dtype", "float32", "--device", "h200")


def only_message(result):
    """The output holds one message and no traceback."""
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


def test_of_a_suite(run, shelf, kb81, fake_kernel):
    """A suite's layers are said with their times; one record answers one of 37."""
    shelf.put(kb81)
    result = run("kernelbench", *FLOAT32)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("kernelbench on h200 (NVIDIA H200, which is not in this machine), ")
    assert "torch 2.00 ms, tunedb 1.00 ms, 1.00 ms saved, 2.00 times as fast as torch" in result.output
    assert any(line.startswith("kb81 ") and " answered " in line for line in result.output.splitlines())


def test_several_suites_and_the_variant(run, shelf, kb81, fake_kernel):
    """Suites are put together; --layout and --precision reach the layers that do not say theirs."""
    shelf.put(kb81)
    data = json.loads(run("kernelbench", "models", *FLOAT32, "--json").output)
    assert (data["title"], data["totals"]["layers"]) == ("kernelbench, models", 203)
    assert data["totals"]["answered"] >= 1
    for other in (("--layout", "channels_last"), ("--precision", "ieee"), ("--dtype", "float16")):
        data = json.loads(run("kernelbench", *FLOAT32, *other, "--json").output)
        assert data["totals"]["answered"] == 0
        assert {layer[other[0][2:]] for layer in data["layers"]} >= {other[1]}


def test_a_compiled_model(run, shelf, kb81, fake_kernel):
    """--compiled asks for two-dimensional layers in channels_last, whose records are others."""
    shelf.put(kb81._replace(problem=kb81.problem._replace(layout="channels_last")))
    layers = json.loads(run("kernelbench", *FLOAT32, "--compiled", "--json").output)["layers"]
    assert {one["layout"] for one in layers if one["op"].endswith("2d")} == {"channels_last"}
    assert [one["id"] for one in layers if one["state"] == "answered"] == ["kb81"]


def test_a_database_answers_first(run, shelf, kb81, fake_kernel, tmp_path):
    """With --db its records answer before those in use, for this report only."""
    shelf.put(kb81)
    better = tmp_path / "better.sqlite"
    with Store(better) as store:
        store.put(kb81._replace(time_us=500.0))
    before = dict(os.environ)
    files_before = files.user_files

    def named():  # as user_files reads TUNEDB_PATH
        parts = os.environ.get("TUNEDB_PATH", "").split(os.pathsep)
        return [type(better)(part) for part in parts if part] or files_before()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "user_files", named)
        files.reload()
        assert "tunedb 500.0 us" in run("kernelbench", *FLOAT32, "--db", better).output
        assert "tunedb 1.00 ms" in run("kernelbench", *FLOAT32).output
    assert dict(os.environ) == before


def test_of_databases(run, shelf, kb81, fake_kernel, tmp_path):
    """Without a suite it is of the databases in use, of one device or of one file."""
    shelf.put(kb81)
    shelf.put(kb81._replace(device="4090"), ship="4090")
    assert "2 records" in run().output
    assert "1 record," in run("--device", "4090").output
    result = run("--db", shelf.user)
    assert result.output.startswith("user.sqlite, 1 file, ")
    assert "1 record," in result.output


def test_a_page(run, shelf, kb81, fake_kernel, tmp_path):
    """--html writes the page beside the table or the JSON, which stays JSON."""
    shelf.put(kb81)
    for number, arguments in enumerate((("kernelbench", *FLOAT32), (), ("kernelbench", *FLOAT32, "--json"))):
        path = tmp_path / f"{number}.html"
        result = run(*arguments, "--html", path)
        assert result.exit_code == 0, result.output
        assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        if "--json" in arguments:
            assert json.loads(result.output)["kind"] == "suite"
        else:
            assert f"The page is in {path}" in result.output


def test_an_empty_suite(run, shelf, tmp_path):
    """A suite without layers is said to be empty."""
    path = tmp_path / "empty.json"
    path.write_text("[]")
    result = run(path, "--device", "h200", "--html", tmp_path / "a.html")
    assert result.exit_code == 0, result.output
    assert "the suite is empty" in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing.json"], 2, "suite must be one of kernelbench, models or a JSON file, but got 'nothing.json'"),
        (["BROKEN"], 2, "has errors; mend these lines: line 1"),
        (["kernelbench", "--device", "voodoo"], 2, "device must be one of 3090"),
        (["--device", "voodoo"], 2, "device must be one of 3090"),
        (["kernelbench", "--db", "missing.sqlite"], 2, "'--db'"),
        (["kernelbench", "--db", "BROKEN"], 1, "a database must be a sound SQLite file"),
        (["--db", "BROKEN"], 1, "a database must be a sound SQLite file"),
        (["kernelbench", "--html", "missing/a.html"], 2, "must be a file that can be written, but got missing/a.html"),
        (["kernelbench", "--html", "."], 2, "'--html'"),
        (["kernelbench", "--dtype", "float64"], 2, "'--dtype'"),
        (["--compiled"], 2, "--compiled is of a model: name its suite"),
    ],
)  # fmt: skip
def test_what_cannot_work(run, shelf, tmp_path, monkeypatch, arguments, status, message):
    """Each mistake is one message: status 2 where another command line would do, 1 for a damaged database."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BROKEN").write_text("nonsense")
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert message in only_message(result)
