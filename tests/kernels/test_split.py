"""Sums split among programs: every part counted once, the bias once, the same bits every time."""

import itertools

import pytest

pytest.importorskip("triton")

from awkward import problem
from tunedb.kernels import implicit_gemm
from tunedb.kernels.shared.split_sum import split_sum_signature, splits

from tunedb.device import by_slug
from tunedb.kernel import config_to_json

DEVICE = by_slug("h200")
LAST = {"layout": "channels_last"}
HALF = {"dtype": "float16", "precision": "ieee"}
LONG = {
    "a bias": problem("conv2d", n=2, c=(70, 20), extents=(4, 5), k=3, p=1, bias=1),
    "channels last": problem("conv2d", n=2, c=(70, 20), extents=(4, 5), k=3, p=1, bias=1, **LAST, **HALF),
    "few channels": problem("conv2d", c=(5, 20), extents=(4, 5), k=5, p=2, bias=1, **HALF),
    "residues": problem("conv_transpose2d", n=2, c=(40, 9), extents=(3, 5), k=4, s=2, p=1, bias=1),
    "residues without taps": problem("conv_transpose1d", c=(40, 9), extents=(5,), k=2, s=3, bias=1),
    "groups": problem("conv1d", n=2, c=(80, 40), extents=(17,), k=3, groups=2, bias=1, **HALF),
    "no bias": problem("conv3d", c=(33, 20), extents=(3, 2, 5), k=(2, 1, 3), **LAST),
}  # fmt: skip


@pytest.mark.parametrize(("name", "split"), list(itertools.product(LONG, (2, 16))))
def test_agrees_with_float64(name, split, run_kernel):
    """As many parts as there are steps, more, or fewer: the sum is torch's, and every output is written."""
    given = LONG[name]
    config = implicit_gemm.default(given, DEVICE)._replace(SPLIT=split, PHASE="slow")
    assert not implicit_gemm.valid(given, config, DEVICE)
    answer = run_kernel("implicit_gemm", given, config_to_json(config))
    assert answer["unwritten"] == 0
    assert answer["error"] <= 1e-3


def test_parts_are_for_few_outputs_of_long_sums():
    """Parts are offered up to as many programs as fill the GPU, and never of fewer products than a tile has."""
    small = problem("conv2d", c=(256, 256), extents=(14, 14), k=3, p=1)
    assert small.outputs == 256 * 14 * 14
    assert splits(small, 528, 2304) == (1, 2, 4, 8, 16)
    assert splits(small, 48, 2304) == (1, 2, 4)
    assert splits(small, 528, 300) == (1, 2, 4)
    assert splits(small, 528, 64) == (1,)
    large = problem("conv2d", n=64, c=(256, 256), extents=(56, 56), k=3, p=1)
    assert implicit_gemm.space(large, DEVICE)["SPLIT"] == (1,)


def test_two_launches():
    """A split sum takes a launch of the third axis for its parts, without the bias, and one that adds them."""
    given = LONG["a bias"]
    config = implicit_gemm.default(given, DEVICE)._replace(SPLIT=4)
    product = implicit_gemm.signature(given, config)
    assert product.grid[2] == 4
    assert product.types["y_ptr"] == "*fp32"
    assert not product.constexprs["PROBLEM"].has_bias
    adding = split_sum_signature(given, 4)
    assert adding.constexprs["HAS_BIAS"]
    assert adding.grid == (-(-given.outputs // 512), 1, 1)
    assert implicit_gemm.work(given, config).launches == 2
    assert implicit_gemm.work(given, config._replace(SPLIT=1)).launches == 1


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"SPLIT": 3}, "SPLIT must be one of (1, 2, 4, 8, 16), but is 3"),
        ({"SPLIT": 2, "PHASE": "axis"}, "SPLIT takes the third axis of the grid, so PHASE must not be axis"),
    ],
)
def test_what_cannot_be_is_refused(change, flaw):
    """A config that cannot be launched says why."""
    given = LONG["a bias"]
    assert implicit_gemm.valid(given, implicit_gemm.default(given, DEVICE)._replace(**change), DEVICE) == flaw
