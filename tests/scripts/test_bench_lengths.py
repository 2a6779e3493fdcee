"""The benchmark of new lengths, on a GPU that is played."""

import pytest
import torch
from fake_gpu import OnFakeGpu, fake_gpu

import tunedb
from tunedb.store import files


@pytest.fixture
def module(scripts, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEDB_PATH", "")
    monkeypatch.setattr(files, "user_files", lambda: [tmp_path / "none.sqlite"])
    fake_gpu(monkeypatch, "h100")
    yield scripts("bench_lengths")
    files.reload()


def make(shape):
    return OnFakeGpu(shape, torch.float16)


def test_a_layer_is_measured(module):
    """Times, compilations and memory are counted; a wrong result is told."""
    wrong = iter([True] + 19 * [False])
    row = module.measured(module.LAYERS[0], make, count=20, plans=20, wrong=lambda *_: next(wrong))
    assert "shared_rows" in row.kernels
    assert "near 20" in row.kernels
    assert row.wrong == 1
    assert 0 < row.plan_us <= row.plan_us_99
    assert row.first_compilations == row.compilations <= 8
    assert 1 <= row.last_compilation <= 20


def test_every_layer_has_a_record(module):
    """The layers are ones that the database of the H100 answers with a kernel of tunedb."""
    for layer in module.LAYERS:
        row = module.measured(layer, make, count=4, plans=2)
        assert row.compilations, layer.name


def test_a_wrong_result_is_found(module, monkeypatch):
    """A result that is off by more than the tolerance, or of another shape, is wrong; torch's own is not."""
    for layer in module.LAYERS[2], module.LAYERS[4]:
        c_in, c_out = layer.channels
        x, weight = torch.randn(1, c_in, 40), torch.randn(layer.weight)
        bias = torch.randn(c_out) if layer.bias else None
        assert not module.is_wrong(layer, x, weight, bias)
        real = getattr(tunedb, layer.op)
        for change in (lambda y: y * 1.01, lambda y: y[..., 1:], lambda y: y * float("nan")):
            monkeypatch.setattr(tunedb, layer.op, lambda *args, change=change, real=real, **named: change(real(*args, **named)))  # fmt: skip
            assert module.is_wrong(layer, x, weight, bias)
        monkeypatch.setattr(tunedb, layer.op, real)


def test_the_page(module):
    """The page says how many layers keep to the limit, and names each."""
    row = module.Row("a layer", "direct (near 4)", 150.0, 300.0, 4, 4, 9, 0, 1.0, 0.0)
    text = module.page([row, row._replace(layer="another", plan_us=250.0)], "a GPU", "a command")
    assert "for 1 of 2 layers" in text
    assert "a layer" in text
    assert "another" in text
