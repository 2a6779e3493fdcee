"""What a program can learn of its plans: lines of the logger `tunedb`, and counts by tier."""

import logging

import pytest
import torch

import tunedb
from tunedb.device import by_slug
from tunedb.dispatch import calls, lookup, plans
from tunedb.dispatch.lookup import TIERS, Answer
from tunedb.dispatch.plans import NO_TIER, Plan, make_plan

DEFAULTS = (1, 0, 0, 1, 1)  # stride, padding, output_padding, groups, dilation


class OnGpu(torch.Tensor):
    """A tensor on the CPU that says it is on the first GPU."""

    is_cuda = property(lambda _: True)
    device = property(lambda _: torch.device("cuda", 0))


def tensors(*shapes):
    return [torch.zeros(shape).as_subclass(OnGpu) for shape in shapes]


@pytest.fixture
def gpu(monkeypatch):
    """A machine with an H200, on which `answer(...)` decides what lookup says and any kernel loads."""
    monkeypatch.setattr(plans, "_emulated", lambda: False)
    monkeypatch.setattr(plans, "current", lambda _: by_slug("h200"))
    monkeypatch.setattr(plans, "_loaded", lambda *_: lambda *_: None)
    return lambda *answer: monkeypatch.setattr(lookup, "answer", lambda *_: Answer(*answer))


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "tunedb"]


def test_a_new_plan_is_one_debug_line(gpu, caplog):
    """The line names the problem, the device, the kernel or torch, the tier and the reason; without debug there is none."""
    x, weight = tensors((8, 4, 9), (6, 4, 3))
    gpu("near", "direct", "config", None, "the nearest record.")
    make_plan("conv1d", x, weight, None, *DEFAULTS)
    assert lines(caplog) == []
    with caplog.at_level(logging.DEBUG, "tunedb"):
        make_plan("conv1d", x, weight, None, *DEFAULTS)
        gpu("aten", "aten", None, None, "no record.")
        make_plan("conv1d", x, weight, None, *DEFAULTS)
    problem = "conv1d float32 tf32 channels_first x 8x4x9 w 6x4x3"
    assert lines(caplog) == [
        f"{problem} on h200: direct, tier near: the nearest record",
        f"{problem} on h200: torch, tier aten: no record",
    ]


def test_a_call_that_nothing_is_looked_up_for_has_its_line(gpu, caplog):
    """Calls that torch answers without a lookup say why, in the shapes of the call."""
    with caplog.at_level(logging.DEBUG, "tunedb"):
        make_plan("conv1d", torch.zeros(1, 2, 5), torch.zeros(3, 2, 3), None, *DEFAULTS)
        make_plan("conv1d", *tensors((0, 2, 5), (3, 2, 3)), None, *DEFAULTS)
        make_plan("conv1d", *tensors((1, 2, 5), (3, 4, 3)), None, *DEFAULTS)
    first, second, third = lines(caplog)
    assert first == "conv1d x 1x2x5 w 3x2x3: torch, tier none: torch answers on cpu"
    assert second.endswith("torch, tier none: torch answers for empty tensors")
    assert "do not agree" in third


def test_a_kernel_that_does_not_load_is_torchs_in_the_line(gpu, caplog, monkeypatch):
    """Where a kernel fails to load, the line says that torch runs, and why."""

    def fails(*_):
        raise RuntimeError("PTX is of another time")

    monkeypatch.setattr(plans, "_loaded", fails)
    gpu("exact", "direct", "config", None, "it won.")
    with caplog.at_level(logging.DEBUG, "tunedb"), pytest.warns(tunedb.TunedbWarning):
        make_plan("conv1d", *tensors((1, 2, 5), (3, 2, 3)), None, *DEFAULTS)
    assert "torch, tier exact: direct failed to load" in lines(caplog)[0]


def test_stats_count_plans_by_tier(monkeypatch):
    """Each tier has its count, 0 too, and together they are all plans."""
    made = [Plan(None, 0, "", (), tier) for tier in ("exact", "exact", "other-device", NO_TIER)]
    monkeypatch.setattr(calls, "_plans", dict(enumerate(made)))
    found = tunedb.stats()
    assert found["plans_exact"] == 2
    assert (found["plans_other_device"], found["plans_none"], found["plans_near"]) == (1, 1, 0)
    assert sum(found[f"plans_{tier.replace('-', '_')}"] for tier in (*TIERS, NO_TIER)) == found["plans"] == 4
