"""What a sweep says before it begins and after it has ended."""

import io
from collections import Counter
from pathlib import Path

import landscape
import pytest
from rich.console import Console

from tunedb.device import by_slug
from tunedb.measure import absent_gpu
from tunedb.measure.absent_gpu import Absence
from tunedb.record import Record
from tunedb.tune import announce
from tunedb.tune.announce import closing, count_line, opening
from tunedb.tune.progress import LiveProgress
from tunedb.tune.settings import Settings
from tunedb.tune.summary import Layer, Summary, endings, table_of

PROBLEM = landscape.problem("conv2d")
PREDICTED = Record(
    PROBLEM, "4090", "alpha", "{}", 100.0, None, None, None, 80.0, None, None, "predicted", 40, "hash",
    "3.7.1", "2.13.0", "", "", "2026-01-01T00:00:00+00:00",
)  # fmt: skip
MEASURED = PREDICTED._replace(provenance="measured", aten_us=200.0)


def settings(**changes):
    made = Settings(by_slug("4090"), "predicted", 40, "h.log", Path("a.sqlite"), ())
    return made._replace(**changes)


def summary(record=PREDICTED, **changes):
    made = Summary({PROBLEM: record}, {PROBLEM: "done"}, {}, {}, {PROBLEM: "kb1"}, 40, Counter(), 10.0, 0, "")
    return made._replace(**changes)


@pytest.fixture
def nobody(monkeypatch):
    """A machine without a GPU."""
    monkeypatch.setattr(announce, "gpus_here", list)
    monkeypatch.setattr(absent_gpu, "absence", lambda: Absence("this machine has no NVIDIA GPU", ""))


def test_without_a_gpu_times_are_predicted(nobody):
    """The device has its full name, times are called PREDICTED, and no GPU has a number; files are named."""
    device, files, history = opening(settings())
    assert device == (
        "device: 4090 (NVIDIA GeForce RTX 4090), times are PREDICTED by a model, not measured: this machine has no NVIDIA GPU."
    )
    assert (files, history) == ("database: a.sqlite", "search history: h.log")
    assert "GPU 0" not in "".join(opening(settings()))


def test_measured_on(nobody):
    """Measured times name the GPUs; the second database is named too; a URL's password is not."""
    found = opening(
        settings(provenance="measured", gpus=(2, 3), triton_db=Path("b.sqlite"), storage="postgresql://me:secret@host/db")
    )  # fmt: skip
    assert found == [
        "device: 4090 (NVIDIA GeForce RTX 4090), measured on GPU 2, 3",
        "database: a.sqlite; best Triton results: b.sqlite",
        "search history: postgresql://me:***@host/db",
    ]


def test_another_gpu_or_a_broken_driver_is_named(nobody, monkeypatch):
    """Where the GPU here is another one, or cannot be used, the reason for predictions says so."""
    broken = Absence("an NVIDIA driver is here, but CUDA cannot use it: too old", "Update the driver.")
    monkeypatch.setattr(absent_gpu, "absence", lambda: broken)
    assert opening(settings())[0].endswith("CUDA cannot use it: too old. Update the driver.")
    monkeypatch.setattr(announce, "gpus_here", lambda: [by_slug("h100"), by_slug("h100")])
    assert opening(settings())[0].endswith("PREDICTED by a model, not measured: the GPU here is h100")


def test_counts_have_their_nouns():
    """One problem is a problem, and so is one trial."""
    assert count_line(1, 0, 1) == "1 problem, 0 of them done, 1 trial each"
    assert count_line(2, 1, None) == "2 problems, 1 of them done, trials by gain"
    assert summary(trials=1).line().startswith("1 problem: 1 done; 1 trial in 10 s")


@pytest.mark.parametrize("provenance", ["predicted", "proxy"])
def test_what_nobody_timed_is_called_expected(provenance):
    """A table of expected times says so of both, and promises no speed-up; a table of measurements does."""
    made = summary(PREDICTED._replace(provenance=provenance, aten_us=300.0))
    assert table_of(made)[0] == ("problem", "kernel", "expected", "torch expected", "floor")
    assert table_of(made)[1] == ("kb1", "alpha", "100.0 us", "300.0 us", "80.0 us")
    assert "speed-up" in table_of(summary(MEASURED))[0]
    layers = {PROBLEM: Layer("kb1", 2, 300.0, 100.0, 80.0, 40, "done")}
    by_gain = summary(layers=layers, by_gain=True)
    assert table_of(by_gain)[0] == ("layer", "state", "calls", "expected", "trials")
    assert table_of(by_gain)[1] == ("kb1", "done", "2", "100.0 us", "40")
    assert endings(by_gain)[0] == "convolutions of one forward pass: 200.0 us expected"


def test_a_live_display_of_predictions_shows_no_gpu(nobody):
    """The display has neither a column of GPUs nor one of torch's times where times are predicted; slots are CUDA indices."""
    for changes, shown, hidden in (
        ({}, "kb1", ("GPU 0", "GPU ", "aten")),
        ({"provenance": "measured", "gpus": (5,)}, " 5 ", ("PREDICTED",)),
    ):
        console = Console(file=io.StringIO(), width=200)
        progress = LiveProgress(console)
        progress.open(settings(**changes))
        progress.begin(1, 0, 40)
        progress.started(0, "kb1", 0)
        progress._live.stop()
        before = console.file.tell()
        console.print(progress._draw())
        drawn = console.file.getvalue()[before:]
        assert shown in drawn
        assert not [text for text in hidden if text in drawn]


def test_a_sweep_ends_with_how_to_use_it(monkeypatch, tmp_path):
    """It names the database, how calls read it, and the commands that show it; the user's own needs no variable."""
    use, commands = closing(summary(), settings(db=tmp_path / "a.sqlite"))
    assert f"export TUNEDB_PATH={tmp_path / 'a.sqlite'}" in use
    assert f"tunedb report --db {tmp_path / 'a.sqlite'}" in commands
    assert f"tunedb explain ID --db {tmp_path / 'a.sqlite'} --device 4090" in commands
    monkeypatch.setattr(announce, "user_files", lambda: [tmp_path / "a.sqlite"])
    use, commands = closing(summary(), settings(db=tmp_path / "a.sqlite"))
    assert use.endswith("it is read by every call.")
    assert "--db" not in commands
    assert closing(summary(records={}), settings()) == []


@pytest.mark.parametrize(
    ("ended", "status", "resumes"),
    [("", 0, False), ("interrupted", 130, True), ("terminated", 143, True), ("time limit", 0, True)],
)
def test_a_stop_says_that_the_same_command_resumes(ended, status, resumes):
    """Ctrl-C ends with 130 and SIGTERM with 143, as is usual; after any stop the same command goes on."""
    made = summary(ended=ended)
    assert made.exit_status == status
    assert (closing(made, settings())[-1] == "The same command resumes where this one stopped.") is resumes
    assert summary(states={PROBLEM: "failed"}).exit_status == 1
