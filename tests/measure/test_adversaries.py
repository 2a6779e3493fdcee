"""Kernels that are right at first sight are never recorded, and the honest one beside them always may be."""

import os
import random
import re
import time
from functools import partial

import pytest
import torch
from adversaries import ADVERSARIES
from fake_bench import CONFIG, PROBLEM, Clock, exact

from tunedb.measure import bench as bench_module
from tunedb.measure.timing import GpuClock
from tunedb.record import Measurement

RUNS = int(os.environ.get("TUNEDB_ADVERSARY_RUNS", "2"))  # 30 to see how often one slips through
PLACES = [
    "cpu",
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]),
]  # fmt: skip


@pytest.fixture(params=PLACES)
def make_bench(request, kernels):
    """Return a function that sets the problem up on a CPU or a GPU; its launcher runs plain functions."""
    made = []

    def make_bench():
        clock = Clock() if request.param == "cpu" else GpuClock(0)
        made.append(bench_module.Bench(PROBLEM, 0, clock=clock, launcher=lambda run: run))
        return made[-1]

    yield make_bench
    time.sleep(0.01)  # a thread of the one that escapes may be at work
    for bench in made:
        bench.close()


def recorded(bench, name):
    """Return whether a trial and the final accept a kernel, which could win it: then it could be the record."""
    return bench.trial(name, CONFIG).status == "ok" == bench.final([(name, CONFIG)])[1].status


@pytest.mark.parametrize("name", ADVERSARIES)
def test_an_adversary_is_refused(make_bench, kernels, name):
    """It is refused in every run, in the trial or in the final, and leaves nothing that the honest kernel is blamed for."""
    bench = make_bench()
    for run in range(RUNS):
        kernels["bad"] = ADVERSARIES[name](random.Random(run))
        assert not recorded(bench, "bad"), run
        assert recorded(bench, "good"), run


def test_an_honest_kernel_is_accepted(make_bench):
    """Alone, as often as one likes."""
    bench = make_bench()
    assert all(recorded(bench, "good") for _ in range(RUNS))


def test_whoever_may_win_is_called_often(make_bench, kernels, monkeypatch):
    """The fastest and its ties are, a slower one is not; where the fastest falls out, the next is."""
    called = []
    monkeypatch.setattr(bench_module.Watched, "again", lambda watched, times: called.append((watched, times)))
    bench = make_bench()
    names = ("good", "other", "third")
    for name in names:
        kernels[name] = partial(exact)
    times = {0: 10.0, 1: 10.1, 2: 20.0}
    entered = {index: bench_module.Watched(kernels[name], None) for index, name in enumerate(names)}
    for watched in entered.values():
        watched.differing = lambda: ""
    monkeypatch.setattr(bench._yardstick, "damage", lambda _: "")
    measured = [Measurement("ok", time, time - 0.2, time + 0.2) for time in times.values()]
    bench._stress(measured, entered)
    assert [watched for watched, _ in called] == [entered[0], entered[1]]
    entered[0].differing = entered[1].differing = lambda: "wrong"
    called.clear()
    bench._stress(measured, entered)
    assert [watched for watched, _ in called] == [*entered.values()]
    assert [one.status for one in measured] == ["wrong", "wrong", "ok"]


def test_a_reason_is_given(make_bench, kernels):
    """Each refusal says what was seen."""
    expected = {
        "wrong in 25 % of calls": "repetitions gave other bits|error against float64",
        "lazier": "repetitions gave other bits",
        "writes behind its output": "beside its output",
        "writes before its input": "changed its input",
        "reads behind its input": "NaN",
        "changes its input": "changed its input",
    }
    bench = make_bench()
    for name, text in expected.items():
        kernels["bad"] = ADVERSARIES[name](random.Random(2))
        measured = bench.trial("bad", CONFIG)
        if measured.status == "ok":
            measured = bench.final([("bad", CONFIG)])[1]
        assert measured.status == "wrong", measured
        assert re.search(text, measured.detail), measured
    kernels["bad"] = ADVERSARIES["clipping"](random.Random(2))
    assert bench.trial("bad", CONFIG).status == "ok"
    assert "16 times as large" in bench.final([("bad", CONFIG)])[1].detail
