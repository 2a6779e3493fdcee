"""A problem's tensors and torch's own convolution of them."""

import pytest
import torch

from tunedb.device import by_slug
from tunedb.measure.baseline import Yardstick, _aligned_to_16, empty_output, make_tensors
from tunedb.measure.timing import WallClock
from tunedb.problem import Problem

AXES = {1: (1, 1, 7), 2: (1, 5, 7), 3: (4, 5, 7)}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def problem(rank, layout, **fields):
    given = {"op": f"conv{rank}d", "dtype": "float32", "precision": "ieee", "layout": layout, "n": 2, "c_in": 4, "c_out": 6,
             "groups": 2, "bias": 1} | fields  # fmt: skip
    kernel = tuple(min(extent, 3) for extent in AXES[rank])
    return Problem(*given.values(), *AXES[rank], *kernel, *(1,) * 3, *(0,) * 3, *(0,) * 3, *(1,) * 3)


@pytest.mark.parametrize("rank", [2, 3])
def test_channels_last_has_torchs_own_strides(rank):
    """Input, weight and output have the strides that torch's memory formats give them."""
    given = problem(rank, "channels_last")
    x, weight, _ = make_tensors(given, "cpu")
    for tensor in (x, weight, empty_output(given, "cpu")):
        twin = torch.empty(tensor.shape).to(memory_format=FORMATS[rank])
        assert tensor.stride() == twin.stride()


def test_one_dimension_has_channels_last_too():
    """In one dimension, for which torch has no memory format, channels are innermost all the same."""
    given = problem(1, "channels_last")
    x, weight, _ = make_tensors(given, "cpu")
    assert x.stride() == (28, 1, 4)
    assert weight.is_contiguous()


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("bias", [0, 1])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_results_are_about_one(rank, bias, layout):
    """Inputs are random and weights scaled, so that results neither vanish nor overflow 16-bit types."""
    given = problem(rank, layout, bias=bias)
    yardstick = Yardstick(given, WallClock(by_slug("h200")))
    assert (yardstick.tensors.bias is None) == (bias == 0)
    out = yardstick.torch_call()
    assert out.shape == yardstick.output().shape
    assert 0.3 < float(out.float().std()) < 3


def test_torchs_own_result_is_right():
    """Torch's result passes its own contract, and an output as it is handed out does not."""
    yardstick = Yardstick(problem(2, "channels_first"), WallClock(by_slug("h200")))
    judged = yardstick.judge(yardstick.torch_call())
    assert (judged.status, judged.error) == ("ok", yardstick.aten.error)
    assert yardstick.aten_us == yardstick.aten.time_us > 0
    unwritten = yardstick.judge(yardstick.output())
    assert (unwritten.status, unwritten.error) == ("wrong", None)


def test_modes_of_torch_have_plans_of_their_own():
    """The weight of the unsearched mode is the same, at an address that cuDNN's plan cache tells apart."""
    given = problem(2, "channels_last")
    weight = make_tensors(given, torch.device("cpu")).weight
    copy = _aligned_to_16(weight)
    assert torch.equal(copy, weight)
    assert copy.stride() == weight.stride()
    assert (copy.data_ptr() - copy.untyped_storage().data_ptr()) == 16


def test_the_less_exact_mode_of_torch_sets_the_limit(monkeypatch):
    """Where torch's two modes differ in error the larger one counts: a record answers users of either."""
    spoilt = Yardstick._call

    def call(self, searched):
        exact = spoilt(self, searched)
        return (lambda: exact() * 1.001) if searched else exact

    plain = Yardstick(problem(2, "channels_first"), WallClock(by_slug("h200"))).aten_error
    monkeypatch.setattr(Yardstick, "_call", call)
    assert plain < 1e-6
    assert Yardstick(problem(2, "channels_first"), WallClock(by_slug("h200"))).aten_error == pytest.approx(
        1e-3, rel=0.01
    )
