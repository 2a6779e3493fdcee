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
    """Each round times every call behind an untimed one of its own, forwards and backwards in turn; times are milliseconds of one call."""
    turns, now, log = scripts("bench.turns"), [0.0], []
    monkeypatch.setattr(turns, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def sleeping(name, seconds):
        def call():
            log.append(name)
            now[0] += seconds

        return call

    times = turns.turns([sleeping("a", 0.02), sleeping("b", 0.04)], lambda: None, 1.0, each_s=0.015)
    assert times[0] == pytest.approx([20.0] * 8)
    assert times[1] == pytest.approx([40.0] * 8)
    assert "".join(log[-16:]) in {"aabbbbaaaabbbbaa", "bbaaaabbbbaaaabb"}


def test_a_call_behind_itself_is_no_faster(scripts, monkeypatch):
    """Where a side's first call behind another's is slow, all times are those of later ones, whether given once or twice."""
    turns, now, last = scripts("bench.turns"), [0.0], []
    monkeypatch.setattr(turns, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def cold_behind_others(name):
        def call():
            now[0] += 0.02 if last == [name] else 0.03
            last[:] = [name]

        return call

    once, twice = cold_behind_others("once"), cold_behind_others("twice")
    for times in turns.turns([twice, once, twice], lambda: None, 1.0, each_s=0.015):
        assert times == pytest.approx([20.0] * len(times))


def test_tf32_is_permitted_where_torch_happens_to_be_exact(scripts):
    """A model in float32 may be as far off as TF32's factors make it, if TF32 is allowed; not so in other dtypes."""
    pair, modes = scripts("bench.model_pair"), scripts("bench.model_modes")
    made = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(), torch.nn.ConvTranspose2d(8, 4, 2))
    model = types.SimpleNamespace(make=lambda: (made, (torch.randn(2, 8, 9, 9),)))
    with torch.no_grad():
        subject = pair.Subject(model, modes.Cpu())
        error = subject.tf32_error
    assert 1e-5 < error < 2e-3
    assert subject.permitted_error("float32") == (error if torch.backends.cudnn.allow_tf32 else 0.0)
    assert subject.permitted_error("float16") == 0.0
    assert pair.wrong(error, 1e-7, error) == ""
    assert pair.wrong(error, 1e-7) != ""


def test_a_ratio_is_taken_turn_by_turn(scripts):
    """While a host is slow both sides are: the medians of the two series may lie in different states of it."""
    pair, rows = scripts("bench.model_pair"), scripts("bench.model_rows")
    torchs, tunedbs = [10.0, 20.0, 10.5, 21.0, 22.0], [9.8, 20.1, 9.9, 10.0, 10.1]
    assert pair.paired(torchs, tunedbs) == pytest.approx(10.5 / 9.9)
    empty = dict.fromkeys(rows.Row._fields)
    assert rows.Row(**{**empty, "torch_ms": 20.0, "tunedb_ms": 10.0, "paired": 1.05}).ratio == 1.05
    assert rows.Row(**{**empty, "torch_ms": 20.0, "tunedb_ms": 10.0}).ratio == 2.0
