import io
from collections import Counter

import landscape
import pytest
from rich.console import Console

from tunedb.record import Measurement, Record, Tried
from tunedb.tune.progress import LiveProgress, PlainProgress, clock, progress_for
from tunedb.tune.schedule import Standing
from tunedb.tune.summary import Summary

PROBLEM, OTHER = landscape.problem("conv2d"), landscape.problem("conv1d")
RECORD = Record(
    PROBLEM, "h200", "alpha", "{}", 100.0, 99.0, 101.0, 250.0, 80.0, 1e-4, 1e-4, "measured", 40, "hash",
    "3.7.1", "2.13.0", "9.19", "580", "2026-01-01T00:00:00+00:00",
)  # fmt: skip
SUMMARY = Summary(
    {PROBLEM: RECORD}, {PROBLEM: "done", OTHER: "failed"}, {OTHER: "out of memory"}, {}, {PROBLEM: "kb1", OTHER: "kb2"},
    80, Counter({"crashed": 2, "wrong": 1}), 10.0, 2, "",
)  # fmt: skip


def play(progress):
    """Show a sweep of two problems, one of which fails."""
    progress.begin(2, 0, 40)
    progress.started(0, "kb1", 0)
    progress.baseline(0, 250.0)
    progress.trial(0, "kb1", Tried("alpha", "{}", Measurement("ok", 100.0)))
    progress.trial(0, "kb2", Tried("alpha", "{}", Measurement("crashed")))
    return progress


@pytest.mark.parametrize(
    "make", [PlainProgress, lambda stream: LiveProgress(Console(file=stream, force_terminal=True, width=200))]
)
def test_a_sweep_is_shown_to_its_end(make):
    """Each problem, its failure's cause, the table and the counts are shown."""
    stream = io.StringIO()
    progress = play(make(stream))
    assert (progress.jobs[0].ended, progress.jobs[0].best_us) == (1, 100.0)
    progress.finished(0, "kb1", RECORD)
    assert progress.left_s() > 0
    progress.failed(1, "kb2", "failed", "out of memory")
    progress.end(SUMMARY)
    shown = stream.getvalue()
    for text in (
        "kb1: alpha 100.0 us, aten 250.0 us, floor 80.0 us",
        "kb2: failed: out of memory",
        "2.50x",
        "speed-up",
    ):
        assert text in shown
    assert shown.rstrip().endswith("failed trials: 2 crashed, 1 wrong")


def test_the_live_display_shows_what_each_gpu_is_at():
    """The display has the counts, the failures and a row a GPU with best and torch's time."""
    console = Console(file=io.StringIO(), width=200)
    progress = play(LiveProgress(console))
    progress._live.stop()
    console.print(progress._draw())
    shown = console.file.getvalue()
    for text in ("0 of 2 done", "1 crashed", "kb1", "1/40", "100.0 us", "250.0 us"):
        assert text in shown


def test_the_last_line_counts_everything():
    """The summary's line has states, trials, their rate and the failures by status."""
    assert (
        SUMMARY.line()
        == "2 problems: 1 done, 1 failed; 80 trials in 10 s, 4.0 a second a GPU; failed trials: 2 crashed, 1 wrong"
    )
    assert SUMMARY._replace(ended="interrupted", gpus=0).line().endswith("; stopped: interrupted")
    assert not SUMMARY.complete


def test_a_sweep_by_gain_shows_what_can_still_be_won():
    """Its head is in the time of a forward pass, and a GPU's row has its stage and what its layer can win."""
    console = Console(file=io.StringIO(), width=200)
    progress = LiveProgress(console)
    progress.begin(2, 0, None)
    progress.stand(Standing(2, 1, 1000.0, 700.0, 450.0))
    progress.started(0, "dec.1", 12, 40, 450.0)
    progress._live.stop()
    console.print(progress._draw())
    shown = console.file.getvalue()
    for text in ("1 of 2 layers known", "300.0 us of 1.00 ms saved", "dec.1", "12/40", "450.0 us", "to win"):
        assert text in shown
    assert progress.part() == (300.0, 750.0)
    progress.looked(0, "dec.1", 100.0)
    assert progress.jobs == {}


def test_no_terminal_means_plain_lines():
    """Where output is no terminal, lines without control characters are written."""
    assert isinstance(progress_for(io.StringIO()), PlainProgress)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3723, "1:02:03")])
def test_clock(seconds, text):
    """Seconds are shown as minutes, or hours from one on."""
    assert clock(seconds) == text
