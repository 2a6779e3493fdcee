import pytest
from awkward import problem

from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.tune.choose_winner import ATEN, settled, surest, winner, without_aten


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
    """Inside the spread, the config with more wins is taken; without any, the first by its text, on every run."""
    finalists = [timed("b", 10.05, 0.1), timed("a", 10.0, 0.1)]
    assert winner(finalists, aten(20), {}).config == "a"
    assert winner([timed("b", 10.0, 0.1), timed("a", 10.05, 0.1)], aten(20), {}).config == "a"
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


def record(kernel, config, us):
    return Record(
        problem("conv1d"), "h200", kernel, config, us, us, us, 9.0, 1.0, 1e-4, 2e-4, "measured", 40, "old",
        "3.6.0", "2.11.0", "9.19.0", "580", "2026-11-20T00:00:00+00:00",
    )  # fmt: skip


def test_of_expected_times_the_surest_wins():
    """What a proxy timed wins, unless what nobody timed is expected to take less than half of it."""
    slow, fast = timed("slow", 11.0, 1.5), timed("fast", 10.0, 1.5)
    proxied = [one._replace(measurement=one.measurement._replace(detail="by proxy on h200-sm89, which takes 4 us")) for one in (slow, fast)]  # fmt: skip
    assert surest([timed("guess", 5.1, 1.0), *proxied]).config == "fast"
    assert surest([timed("guess", 4.9, 1.0), *proxied]).config == "guess"
    assert surest([timed("wide", 9.5, 3.0), timed("narrow", 10.0, 1.5)]).config == "narrow"
    assert surest([Tried("alpha", "x", Measurement("spilled"))]) is None


def test_the_best_answer_without_torch():
    """Where torch won, the record is the best finalist's, with torch's time beside it; else it is the record itself."""
    won = record(*ATEN, 9.0)
    finalists = [timed("a", 12.0, 0.1), timed("b", 10.0, 0.1)]
    own = without_aten(won, finalists, {}, lambda name: f"hash of {name}")
    assert own == won._replace(
        kernel="alpha", config="b", time_us=10.0, time_us_low=9.9, time_us_high=10.1, error=None,
        kernel_hash="hash of alpha",
    )  # fmt: skip
    assert without_aten(own, finalists, {}, str) is own


def test_no_answer_without_torch():
    """Where no finalist was right, there is none."""
    failed = [Tried("alpha", "a", Measurement("wrong"))]
    assert without_aten(record(*ATEN, 9.0), failed, {}, str) is None


def test_ties_of_a_whole_file_do_not_depend_on_their_order():
    """Each tie goes to the config that wins most problems; what is no tie, and what torch won, stays."""
    a, b, far = timed("a", 10.0, 0.1), timed("b", 10.05, 0.1), timed("b", 11.0, 0.1)
    finals = {
        problem("conv1d", extents=extent): (record("alpha", name, us), [*top])
        for extent, name, us, top in (
            (20, "a", 10.0, (a, b)),
            (21, "b", 10.05, (b, a)),
            (22, "b", 10.05, (b, timed("c", 20))),
            (23, "a", 10.0, (a, far)),
            (24, "b", 9.0, (timed("b", 9.0), a)),
        )
    }
    finals = {key: (one._replace(problem=key), top) for key, (one, top) in finals.items()}
    torchs = problem("conv1d", extents=30)
    finals[torchs] = record("aten", "{}", 9.0)._replace(problem=torchs), [a, b]
    found = settled(finals, lambda _: "new")
    assert [one.config for one in found] == ["b", "b", "b", "a", "b", "{}"]
    again = settled(dict(reversed(finals.items())), lambda _: "new")
    assert sorted(again) == sorted(found)
    assert {one.problem: one.time_us for one in found}[problem("conv1d", extents=20)] == 10.05
