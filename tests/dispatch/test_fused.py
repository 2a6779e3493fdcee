"""A record is held against what torch's convolution costs where a compiler adds the bias."""

import pytest
import torch
from compiled_answers import tensors

import tunedb
from tunedb.device import by_slug
from tunedb.dispatch import lookup
from tunedb.dispatch.fused import bias_us, wins_fused

H100 = by_slug("h100")
# A layer of a VAE decoder, 128 channels of 512 x 512: 67 MB of output.
SIZES = {"dtype": "float16", "n": 1, "c_in": 128, "c_out": 128, "groups": 1, "in_h": 512, "in_w": 512, "k_h": 3, "k_w": 3, "padding_h": 1, "padding_w": 1}  # fmt: skip


@pytest.fixture
def layer(record):
    flat = {f"{field}_{axis}": 1 for field in ("stride", "dilation") for axis in "dhw"}
    none = {f"output_padding_{axis}": 0 for axis in "dhw"}
    problem = record.problem._replace(
        op="conv2d", precision="ieee", layout="channels_last", bias=1, in_d=1, k_d=1, padding_d=0, **flat, **none, **SIZES
    )  # fmt: skip
    return record._replace(problem=problem, time_us=167.2, aten_us=223.9)


@pytest.mark.parametrize(
    ("dtype", "shape", "measured"),
    [
        ("float16", (1, 128, 512, 512), 99.5),
        ("float16", (1, 256, 256, 256), 50.1),
        ("float16", (8, 64, 56, 56), 6.2),
        ("float16", (1, 32, 64, 64), 4.0),
        ("float32", (1, 128, 512, 512), 108.9),
        ("float32", (100, 256, 14, 14), 15.2),
        ("float32", (1, 32, 64, 64), 3.1),
    ],
)
def test_the_pass_for_the_bias(layer, dtype, shape, measured):
    """It is near what an H100 took (calls with and without a bias, 2026-11-27); without a bias there is none."""
    n, channels, height, width = shape
    problem = layer.problem._replace(dtype=dtype, n=n, c_out=channels, in_h=height, in_w=width)
    assert bias_us(problem, H100) == pytest.approx(measured, rel=0.25)
    assert bias_us(problem._replace(bias=0), H100) == 0


def test_a_win_by_the_bias_alone_is_none(layer):
    """The layer of the decoder took 167 us where torch's took 110 under Inductor, though torch's record says 224."""
    assert not wins_fused(layer, H100)
    assert wins_fused(layer._replace(problem=layer.problem._replace(bias=0)), H100)
    assert wins_fused(layer._replace(time_us=100.0), H100)


def test_without_torchs_time_nothing_is_known(layer):
    """A predicted record, and an answer without one, stay what they are."""
    assert wins_fused(None, H100)
    assert wins_fused(layer._replace(aten_us=None), H100)


@pytest.mark.parametrize(
    ("bias_too", "operator"), [(True, "aten.convolution.default"), (False, "tunedb.tuned.default")]
)
def test_such_a_layer_compiles_to_torchs_operator(answers, monkeypatch, layer, bias_too, operator):
    """So that Inductor adds its bias where it is free."""
    kept = layer._replace(problem=layer.problem._replace(bias=int(bias_too)))
    monkeypatch.setattr(lookup, "answer", lambda *_: lookup.Answer("exact", "fake", None, kept, "a test's"))
    x, weight, bias = tensors("conv1d")
    with torch.no_grad():
        answers.compile(tunedb.conv1d)(x, weight, bias if bias_too else None)
    assert answers.graphs == [[operator]]
