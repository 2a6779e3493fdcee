"""Two copies of a model beside each other: errors, layouts, and calls that take turns."""

import types

import pytest
import torch


def test_a_wrong_result_is_a_failure(scripts):
    """An error of more than 1.1 times torch's is a failure with its time kept; where torch overflows, tunedb may."""
    wrong = scripts("bench.model_pair").wrong
    assert wrong(1.09e-3, 1e-3) == ""
    assert wrong(1.2e-3, 1e-3) == "the error must be at most 0.0011, but is 0.0012"
    assert "not finite" in wrong(None, 1e-3)
    assert wrong(None, None) == ""


def test_errors_are_relative_over_all_outputs(scripts):
    """The error is the norm of the difference over the norm, of a mapping's or a tuple's tensors together."""
    pair = scripts("bench.model_pair")
    reference = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert pair.errors_of(
        {"a": reference[0], "b": None, "c": torch.tensor([4.5])}, reference
    ) == pytest.approx(0.1)
    assert pair.errors_of((reference[0], torch.tensor([float("nan")])), reference) is None


def test_layouts_are_those_of_each_weight(scripts):
    """Weights of four and of five dimensions each have their own channels_last, and others stay."""
    shaped = scripts("bench.model_pair").shaped
    for shape, form in (((2, 3, 4, 5), torch.channels_last), ((2, 3, 4, 5, 6), torch.channels_last_3d)):
        assert shaped(torch.zeros(shape), "channels_last").is_contiguous(memory_format=form)
        assert shaped(torch.zeros(shape), "channels_first").is_contiguous()
    assert shaped(torch.zeros(2, 3, 4), "channels_last").is_contiguous()


def test_calls_take_turns_and_the_same_call_twice_shows_the_noise(scripts, monkeypatch):
    """Each round times every call, forwards and backwards in turn; times are milliseconds of one call."""
    turns, now, log = scripts("bench.turns"), [0.0], []
    monkeypatch.setattr(turns, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def sleeping(name, seconds):
        def call():
            log.append(name)
            now[0] += seconds

        return call

    times = turns.turns([sleeping("a", 0.02), sleeping("b", 0.04)], lambda: None, 1.0, each_s=0.015)
    assert times[0] == pytest.approx([20.0] * 15)
    assert times[1] == pytest.approx([40.0] * 15)
    assert "".join(log[-8:]) in {"abbaabba", "baabbaab"}
