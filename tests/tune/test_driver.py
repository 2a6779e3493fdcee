import time
from pathlib import Path

import landscape
import pytest
from fake_sweep import LIMITS, PARTS, executed

from tunedb.device import by_slug
from tunedb.kernel import config_to_json
from tunedb.record import Choice, Measurement
from tunedb.tune.compile_pool import Compiled
from tunedb.tune.driver import _Driver, drive
from tunedb.tune.lookahead import Pace
from tunedb.tune.messages import Dropped, End, Ended, Failed, Finished, Job, Kept, Setup, Want
from tunedb.tune.settings import Settings
from tunedb.tune.tuning import Tuning
from tunedb.tune.workers import start

DEVICE = by_slug("h200")
PEAK = landscape.KERNELS["alpha"].peak


def tuning(kernels=landscape, trials=40):
    setup = Setup(
        gpu=0, workers=1, settings=Settings(DEVICE, "measured", trials, "", Path())
    )  # the search needs no more of it
    return Tuning(Job(landscape.problem("conv2d"), trials, (), ()), setup, kernels)


def asked(one, limit):
    found = []
    while (choice := one.ask(limit)) is not None:
        found.append(choice)
    return found


def test_only_seeds_are_asked_for_ahead():
    """Of the next problem only choices that need no result are compiled ahead."""
    one = tuning()
    ahead = asked(one, 0)
    assert 1 < len(ahead) < 20
    assert not one.search.seeded


def test_no_more_are_under_way_than_the_limit():
    """Once the seeds are told, the search is asked for as many as may be under way, and again when one ends."""
    one = tuning()
    for choice in asked(one, 0):
        one.search.tell(choice, Measurement("ok", time_us=1.0))
    found = asked(one, 5)
    assert len(found) == 5
    assert not one.dry
    one.search.tell(found[0], Measurement("ok", time_us=1.0))
    assert len(asked(one, 5)) == 1


def test_a_search_is_dry_once_its_trials_are_asked_for():
    """Then the driver may ask for the next problem."""
    one = tuning(trials=12)
    assert len(asked(one, 100)) == 12
    assert one.dry


def test_without_a_gpu_outcomes_are_seen_as_they_were_asked_for():
    """However fast each is compiled: the search is then the same on every machine. With a GPU a failure is seen next."""
    setup = Setup(gpu=None, workers=2, settings=Settings(DEVICE, "predicted", 12, "", Path()))
    one = Tuning(Job(landscape.problem("conv2d"), 12, (), ()), setup, landscape)
    first, second, third = asked(one, 100)[:3]
    one.compiled(third, Measurement("spilled"))
    one.compiled(second, Measurement("ok"))
    assert not one.ready
    one.compiled(first, Measurement("ok"))
    assert [choice for choice, _ in one.ready] == [first, second, third]
    timed = tuning(trials=12)
    first, second = asked(timed, 100)[:2]
    timed.compiled(second, Measurement("ok"))
    timed.compiled(first, Measurement("spilled"))
    assert [choice for choice, _ in timed.ready] == [first, second]


def test_a_broken_kernel_fails_its_problem_only():
    """An exception in a kernel's space becomes the problem's traceback."""

    class Broken:
        names = staticmethod(lambda: ("alpha",))

        @staticmethod
        def load(name):
            raise TypeError(f"{name} was written wrongly")

    one = tuning(Broken)
    assert "alpha was written wrongly" in one.bug
    assert asked(one, 10) == []


def test_a_spare_compilation_is_not_the_next_jobs():
    """What a search had compiled and never used is not told to the next search of the same problem, which did not ask for it."""
    first, second = tuning(trials=12), tuning(trials=40)
    spare = asked(first, 100)[-1]
    assert spare not in second.search._known
    driver = _Driver.__new__(_Driver)
    driver._pace, driver._current, driver._ahead = Pace(), second, None

    class Pool:
        @staticmethod
        def collect():
            return [Compiled((one, spare, 0.0), Measurement("ok")) for one in (first, second)]

    driver._pool = Pool
    driver._collect()
    assert list(second.ready) == [(spare, Measurement("ok"))]
    assert not first.ready


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start a driver with a GPU of the landscape, of which the test is the coordinator; trials are logged when they begin."""
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))
    children = []

    def started(parts=PARTS):
        limits = LIMITS._replace(compile_s=60.0, trial_s=30.0)  # a compilation here may wait for trials
        children.append(
            start(
                drive, Setup(0, 1, Settings(DEVICE, "measured", 10, "", Path(), parts=parts, limits=limits))
            )
        )
        return children[-1]

    yield started
    for child in children:
        child.kill()


def heard(child, kind):
    """Return the next message of that kind."""
    while child.conn.poll(60.0):
        message = child.conn.recv()
        if isinstance(message, kind):
            return message
        assert not isinstance(message, Failed), message
    raise AssertionError(f"the driver did not say {kind.__name__}")


def test_no_trial_begins_before_the_last_one_is_kept(started, tmp_path):
    """Of a sweep that is killed at any moment at most one trial is lost."""
    child = started()
    heard(child, Want)
    child.conn.send(Job(landscape.problem("conv2d"), 5, (), ()))
    for begun in range(1, 6):
        heard(child, Ended)
        time.sleep(0.1)
        assert len(executed(tmp_path)) == begun
        child.conn.send(Kept())
    assert heard(child, Finished).trials == 5


def test_a_compilation_that_fails_during_the_last_trial_is_no_trial(started):
    """A search ends with as many trials as were asked for: what fails meanwhile is told between trials."""
    child = started(PARTS._replace(compiler="compile_tasks:three_and_no_more"))
    heard(child, Want)
    child.conn.send(Job(landscape.problem("conv2d", n=200), 3, (), ()))
    for _ in range(3):
        heard(child, Ended)
        child.conn.send(Kept())
    assert heard(child, Finished).trials == 3


NAMED = [Choice("alpha", config_to_json(PEAK._replace(num_stages=stages))) for stages in (3, 4)]


def test_named_candidates_go_to_the_final_pass_untimed(started, tmp_path):
    """They are compiled and then timed beside torch, with no trial and no search; without any torch is timed alone."""
    child = started()
    heard(child, Want)
    for named in (NAMED, []):  # the second is wanted before the first ends
        child.conn.send(Job(landscape.problem("conv2d"), 0, (), (), named=named))
        for _ in named:
            assert heard(child, Ended).tried.measurement.time_us is None
            child.conn.send(Kept())
        final = heard(child, Finished)
        assert [one.choice for one in final.finalists] == list(named)
        assert (final.aten_us, final.aten_error) == (1000.0, 1e-4)
    assert executed(tmp_path) == []


def test_a_part_of_the_named_candidates_gives_no_answer(started):
    """Where the time is up before all have compiled, the problem is let go: a better one may be among the rest."""
    child = started(PARTS._replace(compiler="compile_tasks:one_and_then_none"))
    heard(child, Want)
    child.conn.send(Job(landscape.problem("conv2d"), 0, (), (), named=NAMED))
    heard(child, Ended)
    child.conn.send(Kept())
    child.conn.send(End())
    assert heard(child, (Finished, Dropped)) == Dropped(landscape.problem("conv2d"))
