import pytest

from tunedb.record import Measurement
from tunedb.search import Tried
from tunedb.space import Choice
from tunedb.verdict import ATEN, winner


def timed(name, us, spread=0.0):
    return Tried("alpha", name, Measurement("ok", us, us - spread, us + spread))


def aten(us):
    return Measurement("ok", us, us, us)


def test_the_smallest_median_wins():
    """Without ties the fastest finalist wins."""
    assert winner([timed("a", 12), timed("b", 10), timed("c", 11)], aten(20), {}).config == "b"


@pytest.mark.parametrize(("aten_us", "wins"), [(9.0, True), (10.09, True), (10.2, False)])
def test_torch_wins_within_one_percent(aten_us, wins):
    """Torch's own kernel wins if it is faster or at most 1 % slower than the best."""
    assert (winner([timed("a", 10.0)], aten(aten_us), {}).choice == ATEN) is wins


def test_ties_go_to_the_config_that_wins_elsewhere():
    """Inside the spread, the config with more wins is taken; without any, the fastest."""
    finalists = [timed("a", 10.0, 0.1), timed("b", 10.05, 0.1)]
    assert winner(finalists, aten(20), {}).config == "a"
    assert winner(finalists, aten(20), {Choice("alpha", "b"): 3}).config == "b"
    assert winner(finalists, aten(20), {Choice("alpha", "b"): 3, Choice("alpha", "a"): 4}).config == "a"


def test_a_slower_config_is_no_tie():
    """Many wins elsewhere do not help a config whose spread does not reach the best, or only by its noise."""
    wins = {Choice("alpha", "b"): 100}
    assert winner([timed("a", 10.0, 0.1), timed("b", 10.5, 0.1)], aten(20), wins).config == "a"
    assert winner([timed("a", 10.0, 0.1), timed("b", 13.0, 9.0)], aten(20), wins).config == "a"


def test_torch_answers_where_all_failed():
    """If no finalist has a time, torch's kernel wins; without torch nobody does."""
    failed = [Tried("alpha", "a", Measurement("crashed"))]
    assert winner(failed, aten(10), {}).choice == ATEN
    assert winner([], aten(10), {}).choice == ATEN
    assert winner(failed, None, {}) is None


def test_predicted_times_need_no_torch():
    """Without a time of torch's, the fastest prediction wins, and equal ones go to the more frequent winner."""
    finalists = [Tried("alpha", name, Measurement("ok", 10.0)) for name in "ab"]
    assert winner(finalists, None, {Choice("alpha", "b"): 1}).config == "b"
