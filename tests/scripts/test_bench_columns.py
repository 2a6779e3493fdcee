"""Each column of a benchmark is timed beside torch in one run; a faulty answer fails and has no time."""

import pytest

from tunedb.measure.timing import WallClock


def test_all_columns_are_timed_in_one_run(columns, fake, kernel):
    """A right answer of each database, the dispatched one and torch in both modes have times with their spread; sm89 is launched as such."""
    row = columns(triton=fake(), sm89=fake(arch="sm89"))
    assert set(row.times) == {"cudnn", "heuristic", "triton", "sm89", "dispatched"}
    assert all(0 < low <= median <= high for median, low, high in row.times.values())
    assert row.kernels == {"triton": "fake", "sm89": "fake", "dispatched": "aten"}
    assert [launcher.keywords for launcher in kernel.launchers] == [{"arch": None}, {"arch": "sm89"}]
    assert (row.failures, row.notes) == ([], [])
    assert row.floor_us > 0


def test_calls_are_interleaved(columns, fake, monkeypatch):
    """The repetitions of all columns are asked for together, at least nine rounds of them."""
    asked = []
    real = WallClock.times_us

    def times_us(self, calls, rounds):
        asked.append((len(calls), rounds))
        return real(self, calls, rounds)

    monkeypatch.setattr(WallClock, "times_us", times_us)
    columns(triton=fake())
    assert asked[-2] == (4, 1)
    assert asked[-1][0] == 4
    assert asked[-1][1] >= 9


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("wrong", "error against float64"),
        ("noisy", "the same bits"),
        ("unwritten", "never written"),
        ("launch", "too many resources"),
    ],
)
def test_a_faulty_answer_fails_and_has_no_time(columns, fake, fault, said):
    """An answer out of the contract, unequal when repeated, unwritten or refused is a failure, and the others go on."""
    row = columns(triton=fake(fault), sm89=fake())
    assert len(row.failures) == 1
    assert row.failures[0].startswith("triton: fake: ")
    assert said in row.failures[0]
    assert "triton" not in row.times
    assert {"sm89", "cudnn", "dispatched"} <= set(row.times)


def test_a_lost_context_ends_the_problem(columns, fake, monkeypatch):
    """Where the GPU process is lost nothing more is timed in it: the error goes up."""
    monkeypatch.setattr(WallClock, "alive", lambda _: False)
    with pytest.raises(RuntimeError, match="too many resources"):
        columns(triton=fake("launch"))


def test_a_bug_is_no_failure_of_a_column(columns, fake, kernel, monkeypatch):
    """A programming error is not hidden in a table."""
    monkeypatch.setattr(kernel, "plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        columns(triton=fake())


def test_a_missing_answer_is_a_note(columns):
    """A database without an answer leaves its column empty, and the notes say why."""
    row = columns(triton="x.sqlite has no record of it on h200")
    assert "triton" not in row.times
    assert row.notes == ["triton: x.sqlite has no record of it on h200"]
    assert row.failures == []


def test_no_template_is_a_note(columns):
    """A transposed problem, for which Inductor has no template, has no torch.compile column."""
    row = columns(compile_s=1.0)
    assert "compile" not in row.times
    assert row.notes == ["compile: Inductor has no Triton template for it"]


def test_another_tier_is_a_note(columns, shelf, record):
    """What is dispatched from another tier than exact is told."""
    shelf.user.unlink()
    row = columns()
    assert any(note.startswith("dispatched: ") for note in row.notes)
    assert "dispatched" in row.times
