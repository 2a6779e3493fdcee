"""Named candidates in the place of a search."""

from tunedb.record import Choice, Measurement
from tunedb.tune.shortlist import Shortlist

FIRST, SECOND = Choice("alpha", "{}"), Choice("beta", "{}")


def test_each_is_given_out_once_and_the_compiled_ones_go_on():
    """A shortlist is finished when all have been told; what did not compile takes no part in the final pass."""
    found = Shortlist([FIRST, SECOND, FIRST])
    assert [found.ask(), found.ask(), found.ask()] == [FIRST, SECOND, None]
    assert (found.pending, found.finished) == (2, False)
    found.tell(FIRST, Measurement("compile-error"))
    found.tell(SECOND, Measurement("ok"))
    assert (found.pending, found.finished) == (0, True)
    assert [one.choice for one in found.best(4)] == [SECOND]
    assert len(found.tried) == 2


def test_an_empty_one_is_finished():
    """Then torch is timed alone."""
    assert Shortlist([]).finished
