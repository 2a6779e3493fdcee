"""The benchmark of real models, its whole way on a CPU with tiny ones: rows, failures, resuming, tuning."""

import contextlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

PROMISED = types.SimpleNamespace(totals=types.SimpleNamespace(saved_us=500.0))


@pytest.fixture
def script(scripts, monkeypatch):
    """Import the script, with short timings, its children run in this process and 0.5 ms promised for every model."""
    found, pair = scripts("bench_models"), scripts("bench.model_pair")
    monkeypatch.setattr(
        pair, "turns", lambda calls, wait: scripts("bench.turns").turns(calls, wait, 0.0, each_s=0.0)
    )
    stand_in = types.ModuleType("tunedb.model.report")
    stand_in.report = lambda *_: PROMISED
    monkeypatch.setitem(sys.modules, "tunedb.model.report", stand_in)
    monkeypatch.setattr(scripts("bench.model_work"), "answered_by", lambda *_: None)
    benchmark = torch.backends.cudnn.benchmark
    yield found
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture
def run(script, monkeypatch, tmp_path, capsys):
    """Run the script with arguments; return status, what it said last, the rows of its file, and which rows were measured."""

    def run(*words):
        path = tmp_path / "models.json"
        measured = []

        def dealt(given, order, gpus, deadline, say):
            left = list(order)
            while left:
                capsys.readouterr()
                monkeypatch.setattr(sys, "argv", [*given, "--work", ",".join(map(str, left))])
                script.main()
                answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
                monkeypatch.setattr(sys, "argv", given)
                for one in answers:
                    measured.append(one["index"])
                    left.remove(one["index"])
                    say(one)

        monkeypatch.setattr(script, "dealt", dealt)
        monkeypatch.setattr(sys, "argv", ["bench_models.py", "--fake", "--json", str(path), *words])
        status = script.main()
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        return status, said, script.read(path), measured

    return run


def test_a_model_is_measured_in_every_mode(run, tmp_path):
    """A row of each mode has both times, errors and layers, the promise in milliseconds, and its command; page and plot are written."""
    status, said, rows, _ = run("--model", "tiny_audio", "--dtype", "float32", "--swept", "no")
    assert (status, said["failures"], said["unmeasured"]) == (0, [], 0)
    assert {row.mode for row in rows} == {"eager", "graph", "compiled", "compiled_graph"}
    for row in rows:
        assert (row.model, row.kind, row.decoder, row.device) == ("tiny_audio", "audio", True, "CPU")
        assert row.torch_ms > 0
        assert row.tunedb_ms_spread[0] <= row.tunedb_ms <= row.tunedb_ms_spread[1]
        assert (row.layers, row.layers_tunedb, row.expected_saved_ms) == (2, 0, 0.5)
        assert (row.error, row.torch_error) == (0.0, 0.0)
        assert row.first_call_s > 0
        assert row.command.startswith("python scripts/bench_models.py --fake")
        assert "--work" not in row.command
    assert "tiny_audio" in (tmp_path / "models.md").read_text()
    assert "tiny_audio" in (tmp_path / "models.svg").read_text()


def test_only_image_and_video_models_have_channels_last(run):
    """The layouts of a model are those that people run it in."""
    _, _, rows, _ = run("--mode", "eager", "--dtype", "bfloat16", "--swept", "no")
    assert {(row.model, row.layout) for row in rows} == {
        ("tiny_audio", "channels_first"), ("tiny_image", "channels_first"), ("tiny_image", "channels_last"),
    }  # fmt: skip


def test_a_second_run_measures_what_is_missing(run):
    """Rows that the file has are kept, unless --again is said."""
    words = ("--model", "tiny_audio", "--dtype", "float32", "--swept", "no", "--mode")
    _, _, _, first = run(*words, "eager")
    _, _, rows, second = run(*words, "eager,graph")
    _, _, _, third = run(*words, "eager", "--again")
    assert (len(first), len(second), len(third)) == (1, 1, 1)
    assert len(rows) == 2


def test_one_process_measures_all_models(run, script, monkeypatch):
    """One child has every row, and lets go of each model before the next."""
    let_go = []
    monkeypatch.setattr("bench.model_work.released", let_go.append)
    words = ("--dtype", "float32", "--swept", "no", "--mode", "eager", "--layout", "channels_first")
    status, _, rows, measured = run(*words, "--one-process")
    assert (status, len(let_go)) == (0, 2)
    assert [row.model for row in rows] == ["tiny_audio", "tiny_image"]
    assert len(measured) == 2
    assert all("--one-process" in row.command for row in rows)


@pytest.fixture
def broken(scripts, monkeypatch):
    """Let tiny_audio raise in what is given, and return a list of the dtypes in which it was called."""
    models = scripts("bench.real_models")

    def broken(error, when):
        class Broken(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1))

            def forward(self, x):
                if when(x):
                    raise error
                return x * self.weight

        model = models.FAKE[1]._replace(make=lambda: (Broken(), (torch.randn(2),)))
        monkeypatch.setattr(models, "FAKE", (models.FAKE[0], model))

    return broken


def test_a_failure_costs_its_dtype_only(run, broken):
    """A model that refuses a dtype fails there, once for all modes; the others are measured; only --failed tries it again."""
    broken(RuntimeError("no such kernel\nmore"), lambda x: x.dtype == torch.bfloat16)
    words = ("--model", "tiny_audio", "--swept", "no", "--mode", "eager,graph")
    status, said, rows, _ = run(*words)
    assert status == 1
    failed = [row for row in rows if row.failure]
    assert {(row.dtype, row.failure) for row in failed} == {("bfloat16", "RuntimeError: no such kernel")}
    assert (len(failed), len(rows), len(said["failures"])) == (2, 6, 2)
    assert all(row.kind == "audio" and row.ratio is None for row in failed)
    assert run(*words)[3] == []
    _, _, rows, _ = run(*words, "--again", "--one-process", "--model", "tiny_audio,tiny_image")
    assert {(row.model, row.dtype) for row in rows if row.failure} == {("tiny_audio", "bfloat16")}
    assert len(run(*words, "--failed")[3]) == 2


def test_a_failure_does_not_displace_what_was_measured(run, broken):
    """A row that was measured before is kept when measuring it again fails."""
    words = ("--model", "tiny_audio", "--swept", "no", "--mode", "eager", "--dtype", "float32")
    run(*words)
    broken(RuntimeError("lost"), torch.is_tensor)
    _, _, rows, measured = run(*words, "--again")
    assert len(measured) == 1
    assert [row.failure for row in rows] == [""]


def test_a_model_that_cannot_be_made_fails_in_every_row(run, monkeypatch, scripts):
    """A package that is missing is told in every row of its models."""
    models = scripts("bench.real_models")

    def missing():
        raise ModuleNotFoundError("No module named 'x'")

    monkeypatch.setattr(models, "FAKE", (models.FAKE[1]._replace(make=missing),))
    _, _, rows, _ = run("--swept", "no", "--dtype", "float32")
    assert {row.failure for row in rows} == {"ModuleNotFoundError: No module named 'x'"}
    assert len(rows) == 4


def test_unswept_rows_may_be_of_models_that_nobody_has_swept(run, scripts, monkeypatch, tmp_path):
    """--unseen: while a model is measured its layers are unknown, one model at a time; swept rows know theirs."""
    seen, module = [], scripts("bench.unseen")

    @contextlib.contextmanager
    def unseen(model, folder):
        seen.append((model, folder))
        yield
        seen.append("known")

    monkeypatch.setattr(module, "unseen", unseen)
    words = ("--unseen", str(tmp_path), "--dtype", "float32", "--mode", "eager", "--one-process")
    assert run("--swept", "no", *words)[0] == 0
    assert seen == [("tiny_image", tmp_path), "known", ("tiny_audio", tmp_path), "known"]
    assert run("--swept", "yes", *words)[0] == 0
    assert len(seen) == 4


def test_its_processes_work_together(tmp_path):
    """Run as a person runs it, with a child that answers over its output, the script writes a row."""
    pytest.importorskip("tunedb.model.report")
    path = tmp_path / "models.json"
    words = [
        "--fake",
        "--model",
        "tiny_audio",
        "--dtype",
        "float32",
        "--swept",
        "no",
        "--mode",
        "eager",
        "--json",
    ]
    script = Path(__file__).parents[2] / "scripts" / "bench_models.py"
    done = subprocess.run(
        [sys.executable, script, *words, path], check=False, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == len(json.loads(path.read_text())) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json", "x", "--swept", "no", "--dtype", "float8"], "must be of float16, bfloat16, float32"),
        (["--swept", "no"], "give --json"),
        (["--json", "x"], "give --db"),
        (["--tune-minutes", "3"], "give --db"),
        (["--json", "x", "--db", "none.sqlite"], "there is no none.sqlite: tune first"),
    ],
)  # fmt: skip
def test_a_command_line_that_cannot_work_is_refused(script, words, said, capsys):
    """What is missing or unknown is said with what to give."""
    with pytest.raises(SystemExit):
        script.parsed(words)
    assert said in capsys.readouterr().err


def test_an_unknown_model_is_refused(script, scripts):
    """The message names the models there are."""
    with pytest.raises(SystemExit, match="tiny_image, tiny_audio, but got other"):
        script.chosen(scripts("bench.real_models").FAKE, ["other"])
