"""What show and explain can be asked, and what is refused with the conflict named."""

import json

import pytest
from click.testing import CliRunner

from tunedb.cli import main
from tunedb.device.catalogue import CARDS
from tunedb.store import files
from tunedb.store.write import Store
from tunedb.suite import load_suite

SHAPE = ["--op", "conv_transpose2d", "--x", "16x32x64x128", "--w", "32x64x3x3", "--stride", "5", "--padding", "1", "--dilation", "2"]  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_show_filters_by_dtype_and_layout(shelf, record, fake_kernel):
    """Of the records of a layer those of a dtype or layout are shown; where none is, those that exist are named, status 1."""
    half = record.problem._replace(dtype="float16", precision="ieee")
    shelf.put(record, record._replace(problem=half))
    assert run("show", "kb81").output.count("\n  in ") == 2
    result = run("show", "kb81", "--dtype", "float16")
    assert result.exit_code == 0
    assert result.output.startswith("conv_transpose2d float16 channels_first")
    assert result.output.count("\n  in ") == 1
    result = run("show", "kb81", "--layout", "channels_last")
    assert result.exit_code == 1
    assert "No record of it with layout channels_last. There are records with layout: channels_first." in result.output  # fmt: skip
    result = run("show", "kb81", "--device", "foo")
    assert result.exit_code == 1
    assert "No record of it with device foo. There are records with device: h200." in result.output
    assert run("show", "kb57").exit_code == 1


def test_explain_takes_an_id(shelf, record, fake_kernel):
    """An id is looked up in the suites, in the dtype asked for, and an unknown one is refused."""
    shelf.put(record)
    result = run("explain", "kb81", "--device", "h200")
    assert result.exit_code == 0, result.output
    assert "tier     exact" in result.output
    assert "float16" in run("explain", "kb81", "--device", "h200", "--dtype", "float16").output
    for arguments in (["kb999"], [], ["kb81", *SHAPE], ["--op", "conv1d"], ["--suite", "kernelbench", "nothing"]):  # fmt: skip
        assert run("explain", *arguments).exit_code == 2, arguments


@pytest.fixture
def in_use(tmp_path, monkeypatch, record, fake_kernel):
    """A user's database with the record, in effect by TUNEDB_PATH; put(name, record) makes another one beside it."""

    def put(name, *records):
        with Store(tmp_path / name) as store:
            for one in records:
                store.put(one)
        return tmp_path / name

    monkeypatch.setenv("TUNEDB_PATH", str(put("user.sqlite", record)))
    files.reload()
    yield put
    files.reload()


def test_explain_takes_an_id_that_only_a_database_knows(in_use, record):
    """The suites that were swept into a database count, --db's too."""
    (entry,) = [one for one in load_suite("kernelbench") if one.id == "kb81"]
    path = in_use("mine.sqlite")
    with Store(path) as store:
        store.add_suite("mine", [entry._replace(id="my-layer")])
    assert run("explain", "my-layer", "--device", "h200").exit_code == 2
    result = run("explain", "my-layer", "--device", "h200", "--db", path)
    assert result.exit_code == 0, result.output
    assert "x 16x32x64x128 w 32x64x3x3 stride 5x5" in result.output


def test_explain_takes_a_suite(shelf, record, fake_kernel, tmp_path):
    """A suite, by name or file, gives a line a layer and the counts of tiers."""
    shelf.put(record)
    result = run("explain", "--suite", "kernelbench", "--device", "h200")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("37 layers on h200 (NVIDIA H200): ")
    assert any(line.startswith("kb81 ") and " exact " in line for line in result.output.splitlines())
    (entry,) = [one for one in load_suite("kernelbench") if one.id == "kb81"]
    values = {name: value for name, value in entry._asdict().items() if name != "line" and value is not None}
    (tmp_path / "mine.json").write_text(json.dumps([{**values, "id": "a", "n": 3}]))
    result = run("explain", "--suite", tmp_path / "mine.json", "--device", "h200")
    assert result.output.splitlines()[-1].startswith("1 layer on h200 (NVIDIA H200): 1 ")
    assert run("explain", "--suite", tmp_path / "none.json").exit_code == 2


def test_explain_takes_a_database(in_use, record):
    """It answers as if that file was in front of those in use, for this command only; one that is missing is an error."""
    other = in_use("other.sqlite", record._replace(time_us=50.0))
    assert "expects  100.0 us" in run("explain", "kb81", "--device", "h200").output
    assert "expects  50.0 us" in run("explain", "kb81", "--device", "h200", "--db", other).output
    assert "expects  100.0 us" in run("explain", "kb81", "--device", "h200").output
    result = run("explain", "kb81", "--device", "h200", "--db", other.parent / "none.sqlite")
    assert result.exit_code == 1
    assert "there is none at" in result.output


def test_a_captured_layer_is_explained_in_its_own_dtype(tmp_path):
    """A captured layer has its own dtype and layout; --dtype stands over that."""
    entry = load_suite("kernelbench")[0]._replace(dtype="bfloat16", precision="ieee", layout="channels_last")
    values = {name: value for name, value in entry._asdict().items() if name != "line"}
    (tmp_path / "mine.json").write_text(json.dumps([values]))
    asked = ("explain", entry.id, "--suite", tmp_path / "mine.json", "--device", "h200")
    assert f"{entry.op} bfloat16 channels_last" in run(*asked).output
    assert f"{entry.op} float16 channels_last" in run(*asked, "--dtype", "float16").output


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.slug)
def test_every_device_of_the_catalogue_can_be_named(card):
    """--device takes every GPU of the catalogue."""
    result = run("explain", "kb81", "--device", card.slug)
    assert result.exit_code == 0, result.output
    assert f"{card.slug} ({card.name})" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SHAPE, "--suite", "kernelbench"], "a shape must be given alone, but got suite too"),
        ([*SHAPE, "--only", "kb81", "--n", "3"], "a shape must be given alone, but got only, n too"),
        (["--device", "b200", "--gpus", "0"], "gpus must be all for a device that is not here, but got gpus '0' with device b200"),
        (["--trials", "ten"], "must be a whole number of at least 1, but got 'ten'"),
        (["--minutes", "-1"], "must be a number above 0, but got '-1'"),
        (["--time-limit", "nan"], "must be a number above 0, but got 'nan'"),
        (["--db", "."], "must be a file, but . is a folder"),
    ],
)  # fmt: skip
def test_conflicts_are_named(arguments, message, tmp_path, monkeypatch):
    """Options that contradict each other, or a value of the wrong kind, are refused with status 2 before a file is made."""
    monkeypatch.chdir(tmp_path)
    result = run("sweep", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_prune_makes_no_file(tmp_path):
    """A database to prune must exist: to open it for writing would make it."""
    result = run("prune", "--db", tmp_path / "new.sqlite")
    assert result.exit_code == 1
    assert "a database to prune must exist" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_called_a_folder(tmp_path):
    """Where a database is asked for, a folder is named as what it is."""
    for command in (["ls"], ["merge"], ["show", "kb81", "--db"], ["report", "--db"]):
        result = run(*command, tmp_path)
        assert result.exit_code == 2
        assert f"{tmp_path} is a folder" in result.output.replace("\n", " ")
