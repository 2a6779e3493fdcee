"""Tiles of packed whose columns are no power of two: two products side by side, in every way of storing them."""

import itertools

import pytest

pytest.importorskip("triton")

from awkward import problem
from tunedb.kernels import packed
from tunedb.kernels.packed import launch
from tunedb.kernels.packed.shape import closest

from tunedb.device import by_slug
from tunedb.kernel import config_to_json

DEVICE = by_slug("h200")
LAST = {"layout": "channels_last"}
HALF = {"dtype": "float16", "precision": "ieee"}
# What the columns are, a problem, the span, and the columns of a tile.
WIDE = {
    "channels": (problem("conv2d", c=(5, 48), extents=(5, 9), k=3, p=1, bias=1), 1, 48),
    "channels, the last of them missing": (problem("conv2d", c=(5, 41), extents=(5, 9), k=3, bias=1, **HALF), 1, 48),
    "channels of two groups": (problem("conv1d", c=(8, 96), extents=(70,), k=3, groups=2, bias=1), 1, 48),
    "channels, two tiles": (problem("conv2d", c=(5, 90), extents=(5, 9), k=3, bias=1), 1, 48),
    "channels, channels last": (problem("conv2d", c=(5, 48), extents=(5, 9), k=3, p=1, bias=1, **LAST), 1, 48),
    "pairs of outputs": (problem("conv2d", c=(5, 24), extents=(5, 10), k=3, p=1, bias=1), 2, 48),
    "pairs of outputs, a half one": (problem("conv2d", c=(5, 23), extents=(5, 9), k=3, p=1, bias=1), 2, 48),
    "pairs of outputs, channels last": (problem("conv2d", c=(5, 24), extents=(5, 9), k=3, p=1, **LAST), 2, 48),
    "fours along the height": (problem("conv2d", c=(5, 24), extents=(9, 4), k=(5, 1), bias=1), 4, 96),
    "residues": (problem("conv_transpose2d", c=(5, 12), extents=(4, 9), k=3, s=2, p=1, op_=1, bias=1), 2, 48),
    "residues, channels last": (problem("conv_transpose2d", c=(5, 12), extents=(4, 9), k=4, s=2, bias=1, **LAST), 2, 48),
    "residues with gaps": (problem("conv_transpose1d", c=(5, 40), extents=(19,), k=3, s=2, d=2, bias=1, **HALF), 1, 48),
}  # fmt: skip


@pytest.mark.parametrize(("name", "swap"), list(itertools.product(WIDE, (0, 1))))
def test_agrees_with_float64(name, swap, run_kernel):
    """Both tiles are right and written whole, in every way of storing them."""
    given, span, width = WIDE[name]
    config = packed.default(given, DEVICE)._replace(SPAN=span, SWAP=swap, BLOCK_N=width)
    assert not packed.valid(given, config, DEVICE)
    assert width in packed.space(given, DEVICE)["BLOCK_N"]
    answer = run_kernel("packed", given, config_to_json(config))
    assert answer["unwritten"] == 0
    assert answer["error"] <= 1e-3


@pytest.mark.parametrize(
    ("size", "columns", "expected"),
    [
        (64, 48, 48),
        (64, 33, 48),
        (64, 32, 64),  # a block of 32 would do
        (64, 49, 64),
        (64, 64, 64),
        (128, 96, 96),
        (64, 96, 48),
        (128, 128, 128),
        (256, 192, 192),
        (32, 24, 32),  # tiles of 8 columns are too narrow for the matrix unit
    ],
)
def test_closest(size, columns, expected):
    """Three quarters of a block are taken only where they leave fewer columns empty."""
    assert closest(size, columns) == expected


def test_other_widths_are_refused():
    """A width that is neither a power of two nor three of them is named with those that are allowed."""
    given, *_ = WIDE["channels"]
    flaw = packed.valid(given, packed.default(given, DEVICE)._replace(BLOCK_N=80), DEVICE)
    assert flaw == f"BLOCK_N must be one of {launch.WIDTHS}, but is 80"
