"""The commands that look at databases: ls, show, explain, merge, prune."""

import pytest
from click.testing import CliRunner

from tunedb.cli import main
from tunedb.store import files
from tunedb.store.write import Store


def only_message(result):
    """The output holds one message and no traceback."""
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


SHAPE = ["--x", "16x32x64x128", "--w", "32x64x3x3", "--stride", "5", "--padding", "1", "--dilation", "2"]


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


def test_ls(run, shelf, record, fake_kernel):
    """It counts the databases in use, or the files named; an empty one says how to fill it."""
    assert "No records yet" in run("ls").output
    path = shelf.put(record)
    for arguments in ([], [path]):
        result = run("ls", *arguments)
        assert result.exit_code == 0
        assert (
            "h200    conv_transpose2d        1         1          0          1      2.00      0"
            in result.output
        )
    result = run("ls", shelf.folder / "missing.sqlite")
    assert result.exit_code == 1
    assert "there is none at" in only_message(result)


def test_show(run, shelf, record, candidate, fake_kernel):
    """It finds a layer by its id or by its shape."""
    with Store(shelf.user) as store:
        store.put(record, [candidate])
    for arguments in (
        ["kb81"],
        ["--op", "conv_transpose2d", *SHAPE],
        ["kb81", "--device", "h200", "--db", shelf.user],
    ):
        result = run("show", *arguments)
        assert result.exit_code == 0, result.output
        assert "h200, measured: fake 100.0 us, aten 200.0 us (2.00 times), floor 80.0 us" in result.output
        assert '{"BLOCK":32,"ORDER":"n"}' in result.output
    assert "No record of it" in run("show", "kb57").output
    for arguments in ([], ["kb999"], ["kb81", "--op", "conv_transpose2d", *SHAPE]):
        assert run("show", *arguments).exit_code == 2


def test_explain(run, shelf, record, fake_kernel):
    """It says tier, record and expectation, for any device."""
    shelf.put(record)
    result = run("explain", "--op", "conv_transpose2d", *SHAPE, "--device", "h200")
    assert result.exit_code == 0, result.output
    assert "tier     exact" in result.output
    result = run("explain", "--op", "conv_transpose2d", *SHAPE, "--device", "h100")
    assert "tier     other-device" in result.output
    assert run("explain", "--op", "conv_transpose2d").exit_code == 2
    assert run("explain", "--op", "conv_transpose2d", *SHAPE, "--dtype", "float64").exit_code == 2


def test_warnings_are_messages(run, tmp_path, monkeypatch):
    """A file that is left aside is one line, without a line of source."""
    (tmp_path / "bad.sqlite").write_text("nonsense")
    monkeypatch.setenv("TUNEDB_PATH", str(tmp_path / "bad.sqlite"))
    monkeypatch.setattr("warnings.filters", [])
    files.reload()
    result = run("explain", "--op", "conv_transpose2d", *SHAPE, "--device", "h200")
    files.reload()
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if "bad.sqlite" in line]
    assert len(lines) == 1
    assert lines[0].startswith("a database must be a sound SQLite file")


def test_merge_and_prune(run, shelf, record, fake_kernel):
    """Merging takes over records and says how many; prune removes the stale ones."""
    path, target = (
        shelf.put(record, record._replace(device="4090", kernel_hash="old")),
        shelf.folder / "new.sqlite",
    )
    assert "2 records taken, 0 known or better here" in run("merge", path, "--db", target).output
    assert "0 records taken, 2 known or better here" in run("merge", path, "--db", target).output
    assert "1 stale record removed" in run("prune", "--db", target).output
    assert run("merge", shelf.folder / "missing.sqlite", "--db", target).exit_code == 1
