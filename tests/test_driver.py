import landscape

from tunedb.device import by_slug
from tunedb.driver import Job, _Tuning
from tunedb.record import Measurement

DEVICE = by_slug("h200")


def tuning(kernels=landscape, trials=40):
    return _Tuning(Job(landscape.problem("conv2d"), trials, (), ()), DEVICE, kernels)


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
