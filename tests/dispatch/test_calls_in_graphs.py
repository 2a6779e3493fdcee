"""Calls whose answer runs in CUDA graphs only: torch answers eager ones at once, and a graph finds the weight packed."""

from types import SimpleNamespace

import pytest
import torch

import tunedb
from tunedb.dispatch import calls

X, WEIGHT = torch.randn(2, 4, 7, 7), torch.randn(4, 4, 3, 3)


@pytest.fixture
def capturing(monkeypatch):
    """Says to whoever asks whether a CUDA graph is being captured."""
    found = SimpleNamespace(now=False, stream=7)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: found.now)
    monkeypatch.setattr(calls, "raw_stream", lambda _: found.stream)
    return found


def test_a_plan_for_graphs_only_is_run_once_a_weight(planner, searched, capturing):
    """Which packs the weight; torch answers later eager calls at once, and the plan those that a graph captures."""
    planner.graphs_only, weight = True, torch.nn.Parameter(WEIGHT, requires_grad=False)
    for _ in range(3):
        tunedb.conv2d(X, weight)
    assert (planner.ran, len(searched)) == (1, 1)
    capturing.now = True
    tunedb.conv2d(X, weight)
    assert (planner.ran, len(searched)) == (2, 1)
    capturing.stream = 0  # the default stream is never captured
    tunedb.conv2d(X, weight)
    assert (planner.ran, len(searched)) == (2, 1)


def test_a_plan_for_graphs_only_packs_a_changed_weight(planner, capturing):
    """In the next eager call, before a graph is captured, and once."""
    planner.graphs_only, weight = True, torch.nn.Parameter(WEIGHT.clone(), requires_grad=False)
    tunedb.conv2d(X, weight)
    weight.add_(1)
    for _ in range(3):
        tunedb.conv2d(X, weight)
    assert planner.ran == 2
    assert not capturing.now


def test_a_plan_for_graphs_only_is_always_asked_about_other_weights(planner, capturing):
    """A tensor that is no parameter is packed from its second call on, which the plan decides; of an inference tensor no change is seen."""
    planner.graphs_only = True
    with torch.inference_mode():
        made = torch.nn.Parameter(WEIGHT.clone(), requires_grad=False)
        for weight in (WEIGHT.clone(), made):
            for _ in range(3):
                tunedb.conv2d(X, weight)
    assert planner.ran == 6
    assert not capturing.now
