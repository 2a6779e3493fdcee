"""Sums that keep the low bits: right on awkward shapes, and nearer to float64 than plain ones."""

import pytest

pytest.importorskip("triton")

import numpy as np
from awkward import problem
from tunedb.kernels import depthwise, direct
from tunedb.kernels.shared import compensated_sum

from tunedb.device import by_slug
from tunedb.kernel import config_to_json, load

DEVICE = by_slug("h200")
LAST = {"layout": "channels_last"}
LONG = {
    ("depthwise", "7 x 7"): problem("conv2d", n=2, c=(5, 5), extents=(9, 11), k=7, p=3, groups=5, bias=1),
    ("depthwise", "7 x 7, last"): problem("conv2d", c=(10, 10), extents=(6, 11), k=7, p=3, groups=10, bias=1, **LAST),
    ("depthwise", "3-D with strides"): problem("conv3d", c=(3, 6), extents=(5, 7, 9), k=5, s=2, p=2, groups=3),
    ("depthwise", "transposed"): problem("conv_transpose2d", c=(4, 4), extents=(5, 6), k=12, s=2, p=1, groups=4),
    ("direct", "residues"): problem("conv_transpose2d", c=(13, 1), extents=(5, 7), k=9, s=3, p=4, op_=2, bias=1),
    ("direct", "residues, last"): problem("conv_transpose2d", c=(14, 3), extents=(5, 6), k=9, s=2, p=4, op_=1, **LAST),
    ("direct", "forward"): problem("conv1d", n=3, c=(21, 5), extents=(37,), k=5, p=2, bias=1),
}  # fmt: skip


@pytest.mark.parametrize("case", LONG, ids=" ".join)
def test_compensated_sums_are_nearer(case, run_kernel):
    """Every output is written, and the error is less than without."""
    name, given = case[0], LONG[case]
    config = next(config for config in load(name).seeds(given, DEVICE) if config.COMPENSATED)
    assert load(name).space(given, DEVICE)["COMPENSATED"] == (0, 1)
    assert not load(name).valid(given, config, DEVICE)
    plain, kept = (
        run_kernel(name, given, config_to_json(config._replace(COMPENSATED=how))) for how in (0, 1)
    )
    assert kept["unwritten"] == 0
    assert kept["error"] < plain["error"]


def test_adding_keeps_what_rounding_loses():
    """A thousand ones added to 2^24, each lost alone, are all in the sum."""
    total, excess = np.float32(2**24), np.float32(0)
    for _ in range(1000):
        total, excess = compensated_sum.add_compensated.fn(total, excess, np.float32(1))
    assert total == 2**24 + 1000


def test_short_sums_are_plain():
    """A search has no choice where sums are short or the output is rounded anyhow."""
    short = problem("conv2d", c=(8, 8), extents=(9, 9), k=3, p=1, groups=8)
    assert depthwise.space(short, DEVICE)["COMPENSATED"] == (0,)
    half = problem("conv2d", c=(8, 3), extents=(9, 9), k=7, p=3, dtype="float16", precision="ieee")
    assert direct.space(half, DEVICE)["COMPENSATED"] == (0,)


@pytest.mark.parametrize("name", ["depthwise", "direct"])
def test_compensation_is_not_free(name):
    """The time model counts its additions, and a config says yes or no."""
    case = next(case for case in LONG if case[0] == name)
    module, given = load(name), LONG[case]
    config = module.default(given, DEVICE)
    assert (
        module.work(given, config._replace(COMPENSATED=1)).flops
        > module.work(given, config._replace(COMPENSATED=0)).flops
    )
    assert "COMPENSATED must be" in module.valid(given, config._replace(COMPENSATED=2), DEVICE)
