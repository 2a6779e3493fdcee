"""From a model to its answers in one call: what is captured is swept, reported and used."""

import json

import pytest
import torch
from torch import nn

import tunedb
from tunedb.device import by_slug
from tunedb.errors import DatabaseError, ProblemError
from tunedb.model import tune_model as module
from tunedb.store import files
from tunedb.store.read import Database


class Net(nn.Module):
    """Two layers, one of which is called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(8, 8, 3, padding=1), nn.ConvTranspose1d(8, 4, 4, stride=2)

    def forward(self, x, scale=1.0):
        return self.second(self.first(self.first(scale * x)))


@pytest.fixture
def own_database(tmp_path, monkeypatch):
    path = tmp_path / "mine.sqlite"
    monkeypatch.setenv("TUNEDB_PATH", str(path))
    files.reload()
    yield path
    files.reload()


def test_layers_are_swept_with_their_calls(own_database, monkeypatch):
    """The sweep gets every captured problem with its name, its calls and the minutes, and writes where calls read."""
    import tunedb.tune.sweep

    seen = {}

    def sweep(problems, settings, *, labels, progress):
        seen.update(problems=problems, settings=settings, labels=labels)
        return "a summary"

    monkeypatch.setattr(tunedb.tune.sweep, "sweep", sweep)
    layers = module.capture_model(Net().half(), (torch.randn(1, 8, 64).half(),), {"scale": 2.0})
    summary, device = module.tune_layers(layers, minutes=3, device="4090")
    assert (summary, device) == ("a summary", by_slug("4090"))
    assert list(seen["labels"].values()) == ["first", "second"]
    assert [seen["settings"].calls[one] for one in seen["problems"]] == [2, 1]
    assert (seen["settings"].minutes, seen["settings"].trials, seen["settings"].db) == (3, None, own_database)


def test_what_cannot_be_tuned(own_database, tmp_path):
    """A model on the CPU, one without convolutions and a database that calls never read are refused in words."""
    with pytest.raises(ProblemError, match="must be on a CUDA GPU"):
        tunedb.tune_model(Net(), torch.randn(1, 8, 64))
    with pytest.raises(ProblemError, match=r"must be a torch\.nn\.Module"):
        tunedb.tune_model(lambda x: x)
    with pytest.raises(ProblemError, match="Linear calls none"):
        module.capture_model(nn.Linear(2, 2), (torch.randn(1, 2),), {})
    layers = module.capture_model(Net(), (torch.randn(1, 8, 64),), {})
    with pytest.raises(DatabaseError, match="name it in TUNEDB_PATH"):
        module.tune_layers(layers, db=tmp_path / "other.sqlite")


FACTORY = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Conv1d(8, 16, 3)).half(), torch.randn(1, 8, 256).half()

def make_image():
    return nn.Sequential(nn.Conv2d(8, 16, 3)).half(), torch.randn(1, 8, 16, 16).half()

def wrong():
    return nn.Conv1d(1, 1, 1)
"""


def test_the_command(own_database, tmp_path, monkeypatch):
    """`tunedb tune` captures, sweeps for real (compiled and predicted for a GPU that is not here), reports, and saves."""
    from click.testing import CliRunner

    from tunedb.cli import main

    (tmp_path / "made_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    page, suite = tmp_path / "page.html", tmp_path / "suite.json"
    result = CliRunner().invoke(
        main,
        ["tune", "made_models:make", "--device", "4090", "--minutes", "0.25", "--save", str(suite), "--html", str(page)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert [one["id"] for one in json.loads(suite.read_text())] == ["0"]
    (record,) = Database(own_database).records()
    assert (record.device, record.provenance, record.problem.dtype) == ("4090", "predicted", "float16")
    assert "made_models:make on 4090" in result.output
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_the_command_for_a_compiled_model(own_database, tmp_path, monkeypatch):
    """`--compiled` sweeps what torch.compile will look up."""
    from click.testing import CliRunner

    from tunedb.cli import main

    (tmp_path / "made_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)

    def stop(*_, **__):
        raise ProblemError("swept no further.")

    monkeypatch.setattr(module, "tune_layers", stop)
    result = CliRunner().invoke(
        main, ["tune", "made_models:make_image", "--compiled", "--save", "suite.json"]
    )
    assert [one["layout"] for one in json.loads((tmp_path / "suite.json").read_text())] == [
        "channels_last"
    ], result.output


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("made_models", "must be named MODULE:FACTORY"),
        ("..:x", "must be named MODULE:FACTORY"),
        (".made_models:x", "must be named MODULE:FACTORY"),
        ("made_models:none", "must have the function none"),
        ("no_such_module:make", "there is no no_such_module"),
        ("made_models:wrong", "must return a model and its inputs"),
    ],
)
def test_factories_that_are_none(own_database, tmp_path, monkeypatch, factory, said):
    """What is no factory is refused with status 2 and one message."""
    from click.testing import CliRunner

    from tunedb.cli import main

    (tmp_path / "made_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["tune", factory])
    assert result.exit_code == 2, result.output
    assert said in result.output
