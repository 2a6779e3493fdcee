"""Which problems cuDNN in channels_last is asked for, and what stands in for it under racecheck."""

import pytest

pytest.importorskip("triton")

import cudnn_on_cpu
import torch
from awkward import problem
from torch.nn import functional

from tunedb.device import by_slug
from tunedb.kernel import load

DEVICE = by_slug("h100")


@pytest.mark.parametrize(
    ("stride", "more", "reason"), [(2, 1, ""), (1, 1, "output padding"), (3, 4, "output padding")]
)
def test_an_output_padding_of_a_stride_or_more(stride, more, reason):
    """Torch computes it with a dilation, but not by cuDNN, which refuses it: so do its space and its rule."""
    module = load("cudnn_last")
    asked = problem("conv_transpose2d", c=(16, 32), extents=(12, 12), k=3, s=stride, op_=more, d=5)
    assert bool(module.space(asked, DEVICE)) == (not reason)
    found = module.valid(asked, module.Config(64, 64, 4), DEVICE)
    assert found == reason if not reason else reason in found


@pytest.mark.parametrize("transposed", [False, True])
def test_the_stand_in_for_cudnn_computes_the_same(monkeypatch, transposed):
    """Under racecheck it takes cuDNN's place: the same signatures, the same values in channels_last."""
    for name in ("cudnn_convolution", "cudnn_convolution_transpose"):
        monkeypatch.setattr(torch, name, getattr(torch, name))  # given back afterwards
    cudnn_on_cpu.install()
    x, weight = torch.randn(2, 4, 6, 5), torch.randn(4, 4, 3, 3)
    settings = (1, True, True, False)
    if transposed:
        found = torch.cudnn_convolution_transpose(x, weight, (1, 1), (1, 0), (2, 2), (1, 1), *settings)
        expected = functional.conv_transpose2d(x, weight, None, 2, 1, (1, 0))
    else:
        out = torch.empty(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
        found = torch.cudnn_convolution(x, weight, (1, 1), (2, 2), (1, 1), *settings, out=out)
        expected = functional.conv2d(x, weight, None, 2, 1)
        assert found is out
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected)
