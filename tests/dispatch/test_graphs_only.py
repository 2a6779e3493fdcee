"""Answers that run in CUDA graphs only: torch answers eager calls, and a later graph finds all that it needs."""

import types

import pytest
import torch

from tunedb.dispatch import graphs_only
from tunedb.dispatch.graphs_only import in_graphs, too_short_for_eager
from tunedb.dispatch.lookup import Answer

X, WEIGHT = torch.ones(1), torch.ones(2)


@pytest.fixture
def world(monkeypatch):
    """A plan that notes what is called and packed; `capturing` says whether a graph is being captured."""
    played = types.SimpleNamespace(capturing=False, calls=[], packed=[])
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: played.capturing)

    def named(name):
        return lambda x, *_: played.calls.append(name) or x

    played.run = in_graphs(
        types.SimpleNamespace(packer=types.SimpleNamespace(keep=played.packed.append)),
        named("ours"),
        named("theirs"),
    )
    return played


def test_eager_calls_are_torchs(world):
    """All but the first, in which cuDNN chooses; the weight of each is packed for a graph to find."""
    for _ in range(3):
        world.run(X, WEIGHT, None)
    assert world.calls == ["ours", "theirs", "theirs"]
    assert world.packed == [WEIGHT, WEIGHT]


def test_captured_calls_are_ours(world):
    """Every one, whether or not an eager call came before; a captured first call does not count as one."""
    world.capturing = True
    world.run(X, WEIGHT, None)
    world.capturing = False
    world.run(X, WEIGHT, None)
    world.run(X, WEIGHT, None)
    world.capturing = True
    world.run(X, WEIGHT, None)
    assert world.calls == ["ours", "ours", "theirs", "ours"]


@pytest.mark.parametrize(
    ("kernel", "least", "time_us", "only"),
    [("slow_host", 100.0, 99.0, True), ("slow_host", 100.0, 100.0, False), ("slow_host", 100.0, None, True), ("fast_host", None, 1.0, False), ("gone", 100.0, 1.0, False)],
)  # fmt: skip
def test_which_answers_are_too_short(monkeypatch, record, kernel, least, time_us, only):
    """Those of a kernel that says so, of less than it says or of unknown time; a kernel that is not installed says nothing."""
    module = types.SimpleNamespace() if least is None else types.SimpleNamespace(EAGER_FROM_US=least)
    monkeypatch.setattr(graphs_only, "kernel_named", lambda name: None if name == "gone" else module)
    known = None if time_us is None else record._replace(time_us=time_us)
    why = too_short_for_eager(Answer("exact", kernel, None, known, "it won."))
    assert bool(why) == only
    assert ("100 us" in why) == only
