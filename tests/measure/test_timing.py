"""Clocks: how often, in which order, and what is made of the times."""

import pytest
import torch

from tunedb.device import by_slug
from tunedb.measure import timing
from tunedb.record import Measurement


def test_calls_are_interleaved_and_nobody_is_always_second():
    """Every round runs every call once, each round starting with another."""
    seen = []
    calls = [lambda name=name: seen.append(name) for name in "ABC"]
    times = timing.WallClock(by_slug("4090")).times_us(calls, 4)
    assert "".join(seen) == "ABCBCACABABC"
    assert [len(of_one) for of_one in times] == [4, 4, 4]
    assert all(0 <= us < 1e5 for of_one in times for us in of_one)


@pytest.mark.parametrize(
    ("times", "expected"), [([5.0], (5.0, 5.0, 5.0)), ([1.0, 2.0, 3.0, 4.0, 100.0, 5.0], (3.5, 2.0, 5.0))]
)
def test_spread_is_median_and_outer_fifths(times, expected):
    """One outlier moves neither the median nor the percentiles much."""
    assert timing.spread(times) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("budget", "once", "expected"),
    [(15e3, [10.0], 10), (15e3, [4000.0], 3), (15e3, [1400.0], 10), (4e5, [1e4] * 3, 13)],
)
def test_repetitions_fill_the_time_box(budget, once, expected):
    """Repetitions are as many as fit the box, the flush counted, within their bounds."""
    bounds = (3, 10) if budget < 1e5 else (7, 40)
    assert timing.rounds_within(budget, [[us] for us in once], bounds) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_gpus_own_time_with_a_cold_cache():
    """On a GPU a copy that would fit L2 takes no less than memory's bandwidth allows, and launches are hidden."""
    clock = timing.GpuClock(0)
    source = torch.ones(8 << 20, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    ((*times,),) = clock.times_us([lambda: target.copy_(source)], 20)
    median, low, high = timing.spread(times)
    read_us = 1e6 * source.numel() * 4 / clock.device.bandwidth  # the read at least comes from memory
    assert read_us / 2 < low <= median <= high
    (tiny,) = clock.times_us([lambda: target[:1].fill_(1)], 20)
    assert timing.spread(tiny)[0] < 15
    assert clock.alive()


class Disturbed(timing.GpuClock):
    """A GPU's clock whose host is late in given repetitions: 300 us instead of 40."""

    def __init__(self, late):
        self.late, self.lates, self.rounds = 0, late, []

    def _repetitions(self, calls, rounds, *, ahead):
        assert ahead is bool(self.rounds)
        self.rounds.append(([index for index, _ in calls], rounds))
        return [
            (index, late, 300.0 if late else 40.0)
            for index, _ in calls
            for late in (self.lates.pop(0) if self.lates else False for _ in range(rounds))
        ]


def test_repetitions_that_the_host_queued_too_late_are_made_again():
    """A repetition for which the GPU had to wait is dropped, made again, and counted."""
    clock = Disturbed([False, True, False, False, False, False])
    assert clock.times_us([print, print], 3) == [[40.0] * 3] * 2
    assert clock.rounds == [([0, 1], 3), ([0], 1)]
    assert clock.late == 1


def test_a_host_that_is_always_late_still_gives_a_time():
    """After three more attempts the less disturbed half is what there is."""
    clock = Disturbed([True] * 100)
    assert clock.times_us([print], 2) == [[300.0] * 4]
    assert clock.late == 8


def test_what_a_time_is_worth():
    """A measurement says of how many repetitions it is, how many were dropped, and at which clock; late ones are counted once."""
    clock = Disturbed([True, False])
    clock.place = torch.device("cuda", 0)
    times = clock.times_us([print], 1)[0]
    found = timing.timed(Measurement("ok"), times, clock.quality())
    assert (found.time_us, found.rounds, found.late, found.clock_mhz) == (40.0, 1, 1, None)
    assert clock.quality().late == 0


@pytest.mark.parametrize(
    ("times", "wide"), [([10.0, 10.1, 10.2], False), ([10.0, 10.0, 12.0, 9.0, 13.0], True), ([5.0], False)]
)
def test_a_wide_spread(times, wide):
    """Outer fifths more than 6 % of the median apart say little; a single time has no spread."""
    assert timing.is_wide(times) is wide
