"""A zoo of tiny models: captured in processes that may die, merged into a suite, resumed, covered, and swept."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from tunedb.suite import load_suite

# One model has a layer of its own, all that run share one, and the others fail in each way that a package can.
ZOO = '''
import os
from pathlib import Path
import torch
from torch import nn
from zoo.model import Made, Model, zeros

PACKAGES = ("torch",)
LOG = Path(__file__).with_suffix(".log")

def shared():
    return nn.Conv2d(3, 8, 3, padding=1, bias=False)

def small():
    return Made(shared(), (zeros((1, 3, 8, 8)), zeros((8, 3, 8, 8))))

def deep():
    again = nn.Conv2d(8, 8, (1, 3), dilation=2, groups=8)
    made = nn.Sequential(shared(), nn.Sequential(again, nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)), nn.ConvTranspose2d(8, 4, 2, stride=2))
    return Made(made, (zeros((1, 3, 8, 16)), zeros((1, 3, 8, 8))))

class Number(nn.Module):
    """It needs a number of a tensor, which meta tensors have none of."""
    def __init__(self):
        super().__init__()
        self.conv = shared()
    def forward(self, x):
        return self.conv(x) * float(x.sum())

def number():
    return Made(Number(), (zeros((1, 3, 8, 8)),))

def wrong():
    raise ValueError("no such config\\nmore")

def killed():
    os._exit(7)

def models():
    for name, make in (("wrong", wrong), ("deep", deep), ("killed", killed), ("small", small), ("number", number)):
        def logged(name=name, make=make):
            with LOG.open("a") as log:
                log.write(name + "\\n")
            return make()
        yield Model("tiny/" + name, logged)
'''


@pytest.fixture
def run(scripts, tmp_path, monkeypatch, capfd):
    """Run the script on the zoo; return status, its last line, what it said of models, and which it has made."""
    zoo = tmp_path / "tiny.py"
    zoo.write_text(ZOO)

    def run(*words, out="zoo.json", jobs="1"):
        log = zoo.with_suffix(".log")
        log.unlink(missing_ok=True)
        monkeypatch.setattr(
            sys, "argv",
            [scripts("capture_zoo").__file__, "--family", str(zoo), "--cache", str(tmp_path / "cache"), "--jobs", jobs,
             "--out", str(tmp_path / out), *words],
        )  # fmt: skip
        status = scripts("capture_zoo").main()
        shown = capfd.readouterr()
        made = set(log.read_text().split()) if log.exists() else set()
        return status, json.loads(shown.out.splitlines()[-1]), shown.err, made

    return run


def test_a_zoo_becomes_one_suite(run, tmp_path):
    """A layer of more models comes first, with its models, calls and a module of each; what fails is skipped with its reason."""
    status, said, shown, made = run()
    assert status == 0
    assert (said["models"], said["skipped"], said["on CPU"]) == (3, 2, 1)
    assert said["versions"]["torch"]
    assert "tiny/wrong: skipped: ValueError: no such config\n" in shown
    assert "tiny/killed: skipped: the process ended with exit status 7" in shown
    assert made == {"wrong", "deep", "killed", "small", "number"}

    entries = load_suite(tmp_path / "zoo.json")
    assert len(entries) == said["problems"] == 9
    first = entries[0]
    assert (first.op, first.n, first.c_in, first.spatial_in, first.bias) == ("conv2d", 1, 3, (8, 8), False)
    assert first.calls == 3
    assert set(first.modules) == {"tiny/deep 0", "tiny/small Conv2d", "tiny/number conv"}
    notes = [record["note"] for record in json.loads((tmp_path / "zoo.json").read_text())]
    assert [note["models"] for note in notes] == [3] + 8 * [1]
    assert notes[0]["versions"] == said["versions"]
    page = (tmp_path / "zoo.md").read_text()
    assert "| tiny | 3 | 0 | 1 | 2 |" in page
    assert str(tmp_path) not in page
    # Of one model each: those with most calls first.
    assert [entry.calls for entry in entries[1:3]] == [2, 2]
    assert {(entry.kernel, entry.groups) for entry in entries[1:3]} == {((1, 1), 1)}
    assert any((entry.op, entry.stride) == ("conv_transpose2d", (2, 2)) for entry in entries)
    assert any((entry.groups, entry.dilation, entry.kernel) == (8, (2, 2), (1, 3)) for entry in entries)


def test_a_second_run_goes_on_behind_the_first(run, tmp_path):
    """What has a file is not made again, nor what failed unless --failed is said; a file that a kill has broken is made anew."""
    assert run("--models", "tiny/[sw]*")[3] == {"small", "wrong"}
    assert run("--models", "tiny/[nsw]*", jobs="2")[3] == {"number"}
    assert run("--models", "tiny/[nsw]*", "--failed")[3] == {"wrong"}
    (tmp_path / "cache" / "tiny" / "small.json").write_text('{"name": "ti')
    status, said, _, made = run("--models", "tiny/[ns]*")
    assert (status, said["models"], made) == (0, 2, {"small"})


def test_a_package_that_is_missing_costs_its_family(scripts, tmp_path):
    """A family whose package is not installed, or breaks while it is imported, is told with its reason; others are chosen from."""
    for name, package, body in (
        ("absent", "no-such-package", "def models(): return []"),
        ("broken", "torch", "def models(): raise OSError('no libcudart')"),
        ("good", "torch", "from zoo.model import Model\ndef models(): return [Model('good/a', int), Model('good/b', int)]"),
    ):  # fmt: skip
        (tmp_path / f"{name}.py").write_text(f"PACKAGES = ({package!r},)\n{body}\n")
    names = [str(tmp_path / f"{name}.py") for name in ("absent", "broken", "good")]
    models, versions, missing = scripts("zoo.families").chosen(names, ["*/b"])
    assert [model.name for model in models] == ["good/b"]
    assert set(versions) == {"torch"}
    assert missing == {names[0]: "no-such-package is not installed", names[1]: "OSError: no libcudart"}


def test_a_model_that_takes_too_long_is_given_up(scripts):
    """After so many seconds a model is left with that reason, not tried again elsewhere; other failures are told in their order."""
    captured, model = scripts("zoo.captured"), scripts("zoo.model").Model
    places = []

    def slow():
        places.append(str(torch.get_default_device()))
        if len(places) < 2:
            raise ValueError("no meta")
        time.sleep(60)

    found = captured.capture(model("tiny/slow", slow), 1)
    assert found["failure"] == "ValueError: no meta; then TimeoutError: it took more than 1 s"
    assert places == ["meta", "cpu"]


def test_nothing_captured_is_a_failure(run, tmp_path):
    """Without any model the status is 1 and no suite is written; a suite without --cover is refused."""
    assert run("--models", "tiny/wrong")[0] == 1
    assert not (tmp_path / "zoo.json").exists()
    with pytest.raises(SystemExit):
        run("--suite", str(tmp_path / "zoo.json"))


def test_a_covering_set_is_swept(run, tmp_path):
    """--cover takes a few problems of a zoo's suite, and `tunedb sweep` tunes them in their own dtype and layout."""
    from click.testing import CliRunner

    from tunedb.cli import main

    run("--models", "tiny/small")
    status, said, _, _ = run("--suite", str(tmp_path / "zoo.json"), "--cover", "1", out="cover.json")
    assert (status, said["chosen"], said["problems"]) == (0, 1, 2)
    words = ["--suite", str(tmp_path / "cover.json"), "--device", "4090", "--trials", "1", "--db", str(tmp_path / "a.sqlite")]  # fmt: skip
    result = CliRunner().invoke(main, ["sweep", *words, "--json"])
    assert result.exit_code == 0, result.output
    assert Path(tmp_path / "a.sqlite").is_file()


def test_a_page_says_how_concentrated_the_zoo_is(scripts):
    """The page has the share of the first problems, the groupings, and each model that was skipped."""
    one = {"op": "conv2d", "n": 1, "c_in": 3, "spatial_in": [8, 8], "c_out": 8, "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1],
           "output_padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": False, "dtype": "float32", "precision": "tf32",
           "layout": "channels_first", "calls": 3, "module": "a"}  # fmt: skip
    other = {**one, "op": "conv_transpose2d", "padding": [0, 0], "calls": 1}
    found = [
        {"name": "x/a", "failure": "", "on": "meta", "entries": [other, one], "seconds": 1.0},
        {"name": "y/b", "failure": "", "on": "cpu", "entries": [one], "seconds": 1.0},
        {"name": "y/c", "failure": "TypeError: a | b"},
        {"name": "y/d", "failure": "", "on": "meta", "entries": []},
    ]
    layers = scripts("zoo.suite_file").merged(found)
    assert [(layer.models, layer.calls, layer.modules, layer.networks) for layer in layers] == [
        (2, 6, ("x/a a", "y/b a"), ("a", "b")),
        (1, 1, ("x/a a",), ("a",)),
    ]
    page = scripts("zoo.page").page(found, layers, {"x": "1.0"}, "python x.py")
    assert "3 models" in page
    assert "| x | 1 | 0 | 0 | 0 |" in page
    assert "| y | 2 | 1 | 1 | 1 |" in page
    assert "| 2 | 100.0 % | 100.0 % | 1 models | 100.0 % |" in page
    assert "| conv_transpose2d | 1 | 14.3 % | 14.3 % |" in page
    assert "| y/c | TypeError: a \\| b |" in page


def test_the_suite_of_the_zoo_is_one_that_can_be_swept():
    """The file that was captured is a suite, each problem once, those of most models first."""
    path = Path(__file__).parents[2] / "benchmarks/zoo/zoo.json"
    entries = load_suite(path)
    assert len({entry.problem() for entry in entries}) == len(entries) > 1000
    order = [(-record["note"]["models"], -record["calls"]) for record in json.loads(path.read_text())]
    assert order == sorted(order)


def test_the_families_name_what_there_is(scripts):
    """Each family's module can be imported without its package, and says which distributions it needs."""
    families = scripts("zoo.families")
    for name in families.FAMILIES:
        module = families.family(name)
        assert module.PACKAGES
        assert callable(module.models)
