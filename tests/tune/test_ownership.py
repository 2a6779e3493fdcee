"""Who may write: on a journal file, SQLite and PostgreSQL."""

import multiprocessing
import time

import landscape
import pytest
from claiming import claim

from tunedb.device import by_slug
from tunedb.record import Measurement, Tried
from tunedb.tune import journal
from tunedb.tune.journal import STALE_S, History, State
from tunedb.tune.owner import owner
from tunedb.tune.ownership import TakenOver
from tunedb.tune.space import Space

SPACE = Space(landscape.problem("conv2d"), by_slug("h200"), landscape.KERNELS)
TRIED = Tried(
    "alpha",
    '{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":1}',
    Measurement("ok", 12.5, 12.0, 13.0, 1e-4, 1024, 64, 0),
)
ELSEWHERE = "elsewhere:1:2"


@pytest.fixture
def taken_over(shared, monkeypatch):
    """A problem as the one sees it who had it, and as the one who took it over after a minute of silence."""
    mine, theirs = (History(shared).past("a", {}) for _ in range(2))
    assert mine.claim(owner(), 40)
    mine.append(TRIED, SPACE)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + STALE_S + 1)
    assert theirs.claim(ELSEWHERE, 40)
    return mine, theirs


@pytest.mark.parametrize(
    "write",
    [
        lambda past: past.append(TRIED, SPACE),
        lambda past: past.heartbeat(),
        lambda past: past.look(1.0),
        lambda past: past.finish("done", trials=40, result={"record": 1}),
        lambda past: past.check(),
    ],
    ids=["append", "heartbeat", "look", "finish", "check"],
)
def test_the_one_taken_over_writes_nothing(taken_over, write):
    """Trials, signs of life, looks and results of a sweep that lost the problem are refused and leave no trace."""
    mine, theirs = taken_over
    before = theirs.state, theirs.looked, theirs.result
    with pytest.raises(TakenOver):
        write(mine)
    assert (theirs.state, theirs.looked, theirs.result) == before
    assert theirs.tried() == [TRIED]
    theirs.append(TRIED, SPACE)
    theirs.finish("done", trials=40)
    assert theirs.state.answers(40)


def test_a_sign_of_life_does_not_open_a_problem_that_is_done(taken_over):
    """A late heartbeat leaves the answer of the sweep that took the problem over."""
    mine, theirs = taken_over
    theirs.finish("done", trials=40)
    with pytest.raises(TakenOver):
        mine.heartbeat()
    assert theirs.state.answers(40)


def test_one_who_was_silent_but_not_taken_over_goes_on(shared, monkeypatch):
    """Nobody else has it, so nothing is lost."""
    past = History(shared).past("a", {})
    assert past.claim(owner(), 40)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + STALE_S + 1)
    past.append(TRIED, SPACE)
    past.finish("done", trials=40)
    assert past.state.answers(40)


def test_a_sweep_that_begins_leaves_claims_alone(shared):
    """Two that start together both make the study; the second one's facts do not undo the first one's claim."""
    first, second = History(shared), History(shared)
    assert first.past("a", {"device": "h200"}).claim(owner(), 40)
    assert second.past("a", {"device": "h200"}).state.owner == owner()


def test_whoever_reads_first_does_not_win(shared, monkeypatch):
    """Of two that both found a problem free, the second to write gets nothing, however much later it writes."""
    first, second = (History(shared).past("a", {}) for _ in range(2))
    real = journal.State.free

    def slow(state, now):
        if not theirs:
            theirs.append(None)
            theirs[0] = second.claim(ELSEWHERE, 40)
        return real(state, now)

    theirs = []
    monkeypatch.setattr(journal.State, "free", slow)
    assert not first.claim(owner(), 40)
    assert theirs == [True]
    assert first.state == State("running", ELSEWHERE, first.state.since)


def test_one_of_several_gets_a_problem_of_an_empty_storage(shared):
    """Four processes make the schema and the study and claim the problem at the same moment: all live, one gets it."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=claim, args=(shared, name, barrier, results), daemon=True) for name in range(4)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    assert sorted(found) == [False] * 3 + [True]


def test_the_dashboard_gets_a_name_and_real_times(shared):
    """The objective is named, and a trial that took 2.5 s began so long before its end."""
    past = History(shared).past("a", {})
    past.append(TRIED, SPACE, 2.5)
    (trial,) = past._study.get_trials()
    assert trial.duration.total_seconds() == pytest.approx(2.5)
    assert past._study.metric_names == ["time in us"]
