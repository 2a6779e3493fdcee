"""The order of work: by gain, judged again after every result."""

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.record import Record
from tunedb.tune.schedule import STAGES, ByGain, Equal, schedule_for
from tunedb.tune.settings import Settings

A, B, C = (landscape.problem("conv2d", in_w=width) for width in (16, 32, 64))
FLOORS = {A: 10.0, B: 10.0, C: 10.0}


def record(problem, us, aten_us, trials=12, kernel="alpha"):
    return Record(
        problem, "h200", kernel, "{}", us, None, None, aten_us, 10.0, None, None, "measured", trials, "", "", "", "", "", ""
    )  # fmt: skip


def seen(schedule, **aten_us):
    """Look at every problem; torch takes what is given."""
    for problem, us in zip((A, B, C), aten_us.values(), strict=True):
        schedule.looked(problem, us, 0.5)
    return schedule


def open_ones(schedule):
    return [problem for problem in FLOORS if schedule.verdict(problem).state == "waiting"]


def test_every_layer_is_looked_at_before_any_is_searched():
    """Looks go by calls x a guess: four times the floor, or what a record says."""
    schedule = ByGain(FLOORS, {B: 3})
    schedule.guessed(C, 500.0)
    order = []
    for _ in range(3):
        task = schedule.next([problem for problem in FLOORS if problem not in order])
        assert task.trials == 0
        order.append(task.problem)
        schedule.looked(task.problem, 100.0, 0.5)
    assert order == [C, B, A]
    assert schedule.next(FLOORS).trials == STAGES[0]


def test_looks_take_a_part_of_the_time_only():
    """Of 10 s looks get 3 before what is known is searched; what nobody has seen comes when nothing else waits."""
    schedule = ByGain(FLOORS, {}, seconds=10.0)
    schedule.looked(A, 100.0, 3.5)
    assert schedule.next(FLOORS) == (A, 12)
    assert schedule.next([B, C]).trials == 0


def test_the_largest_saving_comes_first():
    """Calls count: 20 us above the floor nine times are more than 100 us once."""
    schedule = seen(ByGain(FLOORS, {A: 1, B: 9}), a=110.0, b=30.0, c=90.0)
    assert schedule.next(FLOORS) == (B, 12)
    assert schedule.next([A, C]) == (A, 12)
    assert schedule.open_us(B) == 180.0


def test_what_costs_more_seconds_comes_later():
    """Of two layers with the same to win and the same stages behind them, the one whose trials were quick goes on."""
    schedule = seen(ByGain(FLOORS, {}), a=100.0, b=100.0, c=100.0)
    schedule.answered(A, record(A, 50.0, 100.0), 12, new=12, seconds=30.0)
    schedule.answered(B, record(B, 50.0, 100.0), 12, new=12, seconds=3.0)
    assert schedule.next([A, B]) == (B, 40)


def test_every_result_is_judged_again():
    """A layer that came down gives way; one that closed nothing falls behind one that closed much."""
    schedule = seen(ByGain(FLOORS, {}), a=200.0, b=150.0, c=100.0)
    assert schedule.next(FLOORS).problem == A
    schedule.answered(A, record(A, 190.0, 200.0), 12, new=12, seconds=3.0)
    assert schedule.next(FLOORS) == (B, 12)
    schedule.answered(B, record(B, 100.0, 250.0), 12, new=12, seconds=3.0)
    schedule.answered(C, record(C, 99.0, 100.0), 12, new=12, seconds=3.0)
    slow = ByGain(FLOORS, {})
    seen(slow, a=100.0, b=100.0, c=400.0)
    slow.answered(A, record(A, 95.0, 100.0), 12, new=12, seconds=3.0)
    slow.answered(
        B, record(B, 95.0, 600.0), 12, new=12, seconds=3.0
    )  # no part of 600: it was looked at as 100
    slow.answered(C, record(C, 95.0, 400.0), 12, new=12, seconds=3.0)
    assert slow.next(FLOORS) == (C, 40)


def test_a_layer_that_torch_wins_drops_behind():
    """With more to win but torch as its answer, a layer comes after one that our kernels improve."""
    schedule = seen(ByGain(FLOORS, {}), a=200.0, b=200.0, c=10.0)
    schedule.answered(A, record(A, 200.0, 200.0, kernel="aten"), 12, new=12, seconds=3.0)
    schedule.answered(B, record(B, 110.0, 200.0), 12, new=12, seconds=3.0)
    assert schedule.next([A, B]) == (B, 40)
    assert schedule.next([A]) == (A, 40)


def test_a_layer_near_its_floor_is_left():
    """Torch within 10 % of the floor cannot lose much: the layer is left, with the numbers."""
    schedule = seen(ByGain(FLOORS, {A: 1000}), a=10.9, b=100.0, c=100.0)
    assert schedule.verdict(A).state == "left"
    assert "1.09 times its floor" in schedule.verdict(A).why
    assert schedule.verdict(B).state == "waiting"


def test_a_layer_that_can_win_too_little_is_left():
    """Less than 0.2 % of the model's time is not searched, once the model's time is known."""
    schedule = ByGain(FLOORS, {B: 1000, C: 1000})
    schedule.looked(A, 100.0)
    schedule.looked(B, 100.0)
    assert schedule.verdict(A).state == "waiting"
    schedule.looked(C, 100.0)
    assert schedule.verdict(A).state == "left"
    assert "0.04% of the model's convolution time" in schedule.verdict(A).why


def test_a_layer_that_failed_keeps_nobody_waiting():
    """The model's time is that of the layers that have one."""
    schedule = ByGain(FLOORS, {B: 1000})
    schedule.looked(A, 100.0)
    schedule.looked(B, 100.0)
    schedule.failed(C)
    assert schedule.verdict(A).state == "left"
    assert schedule.standing()[:3] == (2, 2, 100.0 + 1000 * 100.0)


def test_stages_end_at_the_most_trials():
    """The stages grow up to `most`; then, or where the space is used up, a layer is done."""
    schedule = seen(ByGain(FLOORS, {}, most=60), a=1000.0, b=1000.0, c=1000.0)
    given = []
    while (task := schedule.next([A])) is not None and schedule.verdict(A).state == "waiting":
        given.append(task.trials)
        schedule.answered(A, record(A, 500.0, 1000.0, task.trials), task.trials)
    assert given == [12, 40, 60]
    schedule.answered(B, record(B, 500.0, 1000.0, trials=8), 12)
    assert schedule.verdict(B).state == "done"


def test_a_layer_without_torchs_time_is_searched():
    """Where torch cannot be timed, or times are predicted, the guess stands in for it until there is an answer."""
    unseen = ByGain(FLOORS, {}, looks=False)
    assert unseen.next([A]) == (A, 12)
    schedule = seen(ByGain(FLOORS, {}), a=None, b=100.0, c=100.0)
    assert schedule.verdict(A).state == "waiting"
    assert schedule.open_us(A) == 30.0


def test_equal_trials_are_the_same_for_all():
    """Without minutes the longest problem comes first, and one answer settles it."""
    schedule = Equal({A: 1.0, B: 3.0, C: 2.0}, 40)
    assert schedule.next(FLOORS) == (B, 40)
    assert not schedule.counts(39)
    schedule.answered(B, record(B, 5.0, 10.0, 40), 40)
    assert [schedule.verdict(problem).state for problem in (A, B)] == ["waiting", "done"]


@pytest.mark.parametrize(("minutes", "kind"), [(None, Equal), (1.0, ByGain)])
def test_minutes_choose_the_schedule(tmp_path, minutes, kind):
    """Minutes mean by gain; without them every problem gets its trials."""
    settings = Settings(
        by_slug("h200"), "measured", None, "", tmp_path / "a.sqlite", minutes=minutes, calls={A: 3}
    )
    assert type(schedule_for([A, B], settings)) is kind
