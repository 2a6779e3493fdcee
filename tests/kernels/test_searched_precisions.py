"""The input precisions that a search tries follow from the declared precision, not from what torch's library might choose."""

import pytest
import torch

pytest.importorskip("triton")

from awkward import problem
from tunedb.kernels.shared.precision import dots
from tunedb.kernels.shared.searched_precisions import SHORT, searched_precisions

from tunedb.device import CATALOGUE, by_slug
from tunedb.kernel import load
from tunedb.measure.reference import Deviation
from tunedb.measure.tolerance import Contract
from tunedb.weights.layout import nearest_tf32

H200, ADA = by_slug("h200"), by_slug("4090")
SMALL = problem("conv_transpose1d", c=(128, 64), extents=(431,), k=16, s=8, p=4)
LARGE = problem("conv_transpose2d", n=64, c=(256, 256), extents=(56, 56), k=4, s=2, p=1)
FEW = problem("conv_transpose1d", c=(16, 64), extents=(431,), k=16, s=8, p=4)
SHORTEST = problem("conv_transpose1d", c=(5, 64), extents=(431,), k=16, s=8, p=4)  # sums of 10


@pytest.mark.parametrize("name", ["implicit_gemm", "packed", "kn2row"])
@pytest.mark.parametrize(
    ("given", "change", "device", "expected"),
    [
        (SMALL, {}, H200, ("tf32",)),
        (LARGE, {}, H200, ("tf32",)),
        (FEW, {}, H200, ("tf32",)),
        (FEW, {}, ADA, ("tf32", "ieee")),  # its CUDA cores are as fast
        (SMALL, {}, ADA, ("tf32",)),
        (SMALL, {"precision": "ieee"}, H200, ("ieee", "tf32x3")),
        (LARGE, {"precision": "ieee"}, ADA, ("ieee", "tf32x3")),
        (SHORTEST, {"precision": "ieee"}, H200, ("ieee",)),
        (SHORTEST, {"precision": "ieee", "dtype": "float16"}, H200, ("ieee",)),
        (SMALL, {"precision": "ieee", "dtype": "bfloat16"}, H200, ("ieee",)),
    ],
)
def test_what_is_searched(name, given, change, device, expected):
    """TF32 alone where it is declared, though torch may be exact there; exact products, and three of TF32 for long sums, elsewhere."""
    assert load(name).space(given._replace(**change), device)["DOT"] == expected


@pytest.mark.parametrize("device", CATALOGUE)
def test_what_is_not_searched_stays_valid(device):
    """Records and neighbours with any permitted precision can still be used."""
    given = SHORTEST._replace(precision="ieee")
    for asked in (SMALL, FEW, given):
        assert set(searched_precisions(asked, device)) < set(dots(asked))
        kernel = load("implicit_gemm")
        for dot in dots(asked):
            assert not kernel.valid(asked, kernel.default(asked, device)._replace(DOT=dot), device)


def fused(x, weight, total):
    """A fused multiply-add: the product is not rounded."""
    return (x.double() * weight.double() + total.double()).float()


def pairs(values):
    """Two TF32 numbers for each value, as Triton makes them: the first rounded, the second cut by the matrix unit."""
    high = nearest_tf32(values)
    low = ((values - high).view(torch.int32) & -0x2000).view(torch.float32)
    return high.double(), low.double()


@pytest.mark.parametrize("bias", [0, 1])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 12, SHORT - 2, SHORT, 48])
def test_three_products_of_tf32_keep_the_contract_in_long_sums_only(length, bias):
    """Even with an exact sum they have more than 1.1 times the error of the least exact order, one product after the other, up to SHORT."""
    generator = torch.Generator().manual_seed(length)
    x, weight = (torch.randn(length, 50_000, generator=generator) for _ in range(2))
    weight /= length**0.5
    added = bias * torch.randn(50_000, generator=generator)
    exact = (x.double() * weight.double()).sum(0) + added.double()
    total = torch.zeros(50_000)
    for one, other in zip(x, weight, strict=True):
        total = fused(one, other, total)
    (x_high, x_low), (w_high, w_low) = pairs(x), pairs(weight)
    three = (x_low * w_high + x_high * w_low + x_high * w_high).sum(0).float() + added

    def error(result):
        return float((result.double() - exact).norm() / exact.norm())

    limits = Contract(Deviation(error(total + added), 1.0), 1.0)
    assert (error(three) <= limits.error_limit) == (length >= SHORT)
    assert error(three) < 1e-7
