"""Which problems cuDNN in channels_last is asked for."""

import pytest

pytest.importorskip("triton")

from awkward import problem

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
