"""Sweeps by gain over a recorded landscape: what is searched, what is left, how they end and go on."""

import time

import landscape
import pytest
from fake_sweep import DEVICE, LIMITS, PARTS, executed

from tunedb.store.read import Database
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.sweep import sweep

# Torch takes `c_out` us, our best config about 100; the floor of these is below 2 us.
GREAT, GOOD = landscape.problem("conv2d", c_out=4000), landscape.problem("conv2d", c_out=1000)
TORCHS = landscape.problem("conv2d", c_out=50)


class Recorder(Progress):
    """Notes in which order layers are begun, and with how many trials."""

    def __init__(self):
        self.begun = []

    def started(self, slot, label, ended, trials=None, open_us=None):
        super().started(slot, label, ended, trials, open_us)
        self.begun.append((label, trials))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))

    def run(problems, minutes=0.5, trials=None, **options):
        progress = options.pop("progress", None) or Progress()
        options = {"workers": 1, "parts": PARTS, "limits": LIMITS, **options}
        settings = Settings(
            DEVICE, "measured", trials, str(tmp_path / "history.journal"), tmp_path / "answers.sqlite",
            minutes=minutes, **options,
        )  # fmt: skip
        return sweep(problems, settings, labels={one: str(one.c_out) for one in problems}, progress=progress)

    run.folder = tmp_path
    return run


def test_the_layers_with_most_to_win_come_first(run):
    """All are looked at, then the largest saving is searched first; what cannot save is left or falls behind."""
    progress = Recorder()
    summary = run([TORCHS, GOOD, GREAT], trials=40, calls={GOOD: 2}, progress=progress)
    assert sorted(progress.begun[:3]) == [("1000", 0), ("4000", 0), ("50", 0)]
    searches = [label for label, trials in progress.begun if trials]
    assert searches[0] == "4000"
    assert searches.index("1000") < searches.index("50")
    great = summary.layers[GREAT]
    assert (great.calls, great.before_us, great.trials, great.state) == (1, 4000.0, 40, "done")
    assert great.after_us < 200
    assert summary.layers[GOOD].saved_us == 2 * (1000.0 - summary.layers[GOOD].after_us)
    assert Database(run.folder / "answers.sqlite").record(GREAT, "h200").trials == 40
    assert summary.complete


def test_what_cannot_win_is_left_without_a_trial(run):
    """A layer of less than 0.2 % of the model has no record; the summary has torch's time and the reason."""
    summary = run([TORCHS, GREAT], trials=12, calls={GREAT: 100})
    layer = summary.layers[TORCHS]
    assert (layer.state, layer.before_us, layer.after_us, layer.trials) == ("left", 50.0, None, 0)
    assert "of the model's convolution time" in layer.why
    assert Database(run.folder / "answers.sqlite").record(TORCHS, "h200") is None
    assert len(executed(run.folder)) == 12
    assert summary.complete


def test_trials_go_on_where_minutes_stopped(run):
    """Stages of a sweep by gain count for one with --trials; a layer that was only looked at does not."""
    first = run([TORCHS, GREAT], trials=12, calls={GREAT: 100})
    assert (first.layers[GREAT].trials, first.trials) == (12, 12)
    second = run([TORCHS, GREAT], minutes=None, trials=20)
    assert second.trials == 8 + 20
    assert {record.trials for record in second.records.values()} == {20}
    assert len(set(executed(run.folder))) == len(executed(run.folder))


def test_a_second_run_looks_at_nothing_again(run):
    """It knows torch's times and the stages from the history, and begins with the next stage."""
    run([GOOD, GREAT], trials=12)
    progress = Recorder()
    run([GOOD, GREAT], trials=40, progress=progress)
    assert progress.begun
    assert {trials for _, trials in progress.begun} == {40}


def test_the_end_is_kept(run):
    """At its end the search under way gets its final pass: its answer has the trials that there was time for."""
    slow = landscape.problem("conv2d", c_out=4000, n=150, in_w=4)
    begin = time.monotonic()
    summary = run([slow], minutes=0.2)
    assert time.monotonic() - begin < 12 + 1.5
    assert summary.ended == "minutes are over"
    layer = summary.layers[slow]
    assert 0 < layer.trials == len(executed(run.folder))
    assert layer.trials not in (12, 40, 100, 200)
    assert layer.after_us < 4000
    assert summary.states[slow] == "done"
    assert summary.complete


def test_too_short_for_one_look(run):
    """A sweep that ends before anything is known loses nothing, says so and is not complete."""
    summary = run([GOOD], minutes=0.001)
    assert (summary.states[GOOD], summary.layers[GOOD].before_us) == ("waiting", None)
    assert not summary.complete
    assert "no time" not in summary.line()
    assert run([GOOD], trials=12).states[GOOD] == "done"


def test_two_gpus_work_on_two_layers(run):
    """Each GPU gets another layer, and no trial is made twice."""
    layers = [landscape.problem("conv2d", c_out=4000 + width, in_w=width, n=30) for width in (16, 32, 48)]
    summary = run(layers, trials=12, gpus=(0, 1))
    trials = executed(run.folder)
    assert len(trials) == len({trial[1:] for trial in trials}) == 36
    assert len({pid for pid, *_ in trials}) == 2
    assert all(layer.trials == 12 for layer in summary.layers.values())


def test_failures_keep_nobody_waiting(run):
    """A layer that torch cannot compute fails; one whose every trial fails has torch's answer; the rest is searched."""
    unprepared = landscape.problem("conv_transpose1d")
    hopeless = landscape.problem("conv1d", c_out=80)
    parts = PARTS._replace(compiler="compile_tasks:never")
    summary = run([unprepared, hopeless], trials=12, parts=parts)
    assert summary.states[unprepared] == "failed"
    assert "exit status 3" in summary.causes[unprepared]
    record = summary.records[hopeless]
    assert (record.kernel, record.time_us) == ("aten", 80.0)
    assert summary.layers[hopeless].saved_us == 0
    assert not summary.complete


def test_times_may_be_predicted(run):
    """Without a GPU nothing is looked at: layers are searched by what the model says."""
    problems = [GOOD, GREAT]
    settings = Settings(
        DEVICE, "predicted", 12, str(run.folder / "h"), run.folder / "p.sqlite", workers=1, parts=PARTS, limits=LIMITS,
        minutes=0.5,
    )  # fmt: skip
    summary = sweep(problems, settings)
    assert {record.provenance for record in summary.records.values()} == {"predicted"}
    assert [layer.saved_us for layer in summary.layers.values()] == [0.0, 0.0]
