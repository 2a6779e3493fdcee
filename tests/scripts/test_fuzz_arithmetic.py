"""The bound by which the fuzzing of kernels tells a bug from arithmetic: it holds for every order, and little more than it is a bug."""

import importlib
import random

import pytest
import torch
from awkward import problem
from fake_bench import PROBLEM, exact
from hypothesis import given, settings
from hypothesis import strategies as st

from tunedb.device import by_slug
from tunedb.kernel import load
from tunedb.measure.baseline import make_tensors
from tunedb.measure.reference import choose_part, cut, reference
from tunedb.weights.layout import nearest_tf32

DEVICE = by_slug("h100")


@pytest.fixture
def arithmetic(scripts):
    return scripts("fuzz.arithmetic")


@pytest.fixture(autouse=True)
def importable(scripts):
    """The property below imports the script by its name."""
    return scripts


def limits(arithmetic, asked, tensors, unit, products):
    part = choose_part(asked)
    precise = reference(asked, *tensors, part)
    magnitude = arithmetic.magnitudes(asked, *tensors, part)
    return precise, arithmetic.farthest(asked, arithmetic.Arithmetic(unit, products), precise, magnitude)


@pytest.mark.parametrize(
    "asked",
    [
        problem("conv2d", n=2, c=(6, 4), extents=(5, 7), k=3, p=1, groups=2, bias=1),
        problem("conv1d", c=(3, 4), extents=(9,), k=4, s=2, d=2),
        problem("conv_transpose2d", c=(5, 4), extents=(5, 7), k=(4, 3), s=(3, 2), p=1, bias=1),
        problem(
            "conv_transpose1d", c=(2, 4), extents=(9,), k=5, s=2, d=2
        ),  # all taps meet every other output
        problem("conv_transpose3d", c=(2, 2), extents=(3, 4, 5), k=(2, 3, 2), s=(4, 1, 2)),
    ],
)
def test_the_longest_sum_is_counted(arithmetic, asked):
    """It is the largest number of products that any output has, residues and groups counted."""
    ones = [torch.ones(shape) for shape in (asked.input_shape, asked.weight_shape, (asked.c_out,))]
    counts = reference(asked, *ones[: 2 + asked.bias], *(() if asked.bias else (None,)), choose_part(asked))
    assert arithmetic.longest_sum(asked) == int(counts.max())


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("implicit_gemm", {"DOT": "tf32"}, ("tensor", "tf32")),
        ("implicit_gemm", {"DOT": "tf32x3"}, ("tensor", "tf32x3")),
        ("packed", {"DOT": "ieee"}, ("fma", "ieee")),
        ("kn2row", {"DOT": "tf32"}, ("tensor", "tf32")),
        ("shared_rows", {}, ("tensor", "tf32")),
        ("direct", {}, ("fma", "ieee")),
        (None, {}, ("tensor", "tf32")),
    ],
)
def test_the_arithmetic_is_the_configs(arithmetic, name, change, expected):
    """DOT decides, else what multiplies; an exact kernel is held to exact products though TF32 is permitted."""
    asked = problem("conv_transpose2d", c=(16, 32), extents=(12, 12), k=4, s=2, p=1)
    if name is None:
        assert arithmetic.arithmetic_of(object(), asked, None)[:2] == expected
        return
    kernel = load(name)
    config = kernel.default(asked, DEVICE)._replace(**change)
    assert arithmetic.arithmetic_of(kernel, asked, config)[:2] == expected
    if name != "shared_rows" and not change.get("DOT"):
        half = asked._replace(dtype="float16", precision="ieee")
        assert arithmetic.arithmetic_of(kernel, half, config)[:2] == ("fma", "ieee")


def summed(x, weight, order):
    """Sums of products in a float32 order: one after the other, or in pairs."""
    terms = [(one.double() * other.double()).float() for one, other in zip(x, weight, strict=True)]
    if order == "backward":
        terms.reverse()
    while order == "pairs" and len(terms) > 1:
        terms = [sum(terms[at : at + 2], torch.zeros_like(terms[0])) for at in range(0, len(terms), 2)]
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def split(values):
    high = nearest_tf32(values)
    return high, ((values - high).view(torch.int32) & -0x2000).view(torch.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    length=st.sampled_from((1, 2, 3, 8, 30, 400)),
    products=st.sampled_from(("ieee", "tf32", "tf32x3", "16-bit")),
    order=st.sampled_from(("forward", "backward", "pairs")),
    scale=st.sampled_from((1e-3, 1.0, 1e4)),
)
def test_honest_arithmetic_is_inside_the_bound(seed, length, products, order, scale):
    """Whatever the order, the products and the numbers, cancelling sums too, no element is beyond it."""
    module = importlib.import_module("fuzz.arithmetic")  # a fixture of a function cannot be had here
    dtype = random.Random(seed).choice(("float16", "bfloat16")) if products == "16-bit" else "float32"
    asked = problem("conv1d", c=(length, 1), extents=(500,), k=1, dtype=dtype, precision="ieee")
    generator = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(length, 500, generator=generator), torch.randn(length, 1, generator=generator)
    x[1::2] -= 0.9 * x[: x[1::2].shape[0]]
    x = x * (scale if products != "16-bit" else 1.0)
    x, weight = (one.to(getattr(torch, dtype)) for one in (x, weight))
    tensors = (x.view(1, length, 500), weight.view(1, length, 1), None)
    unit = "fma" if products == "ieee" else "tensor"
    precise, farthest = limits(module, asked, tensors, unit, "ieee" if products == "16-bit" else products)
    x, weight = x.float(), weight.float()
    if products == "tf32":
        out = summed(nearest_tf32(x), nearest_tf32(weight), order)
    elif products == "tf32x3":
        (high, low), (w_high, w_low) = split(x), split(weight)
        out = summed(torch.cat([low, high, high]), torch.cat([w_high, w_low, w_high]), order)
    else:
        out = summed(x, weight, order)
    apart = (out.to(getattr(torch, dtype)).double() - precise.flatten()).abs()
    assert bool((apart <= farthest.flatten()).all())


@pytest.mark.parametrize(
    ("bias", "dtype", "stored"), [(1, "float16", 2), (0, "float16", 1), (1, "float32", 1)]
)
def test_a_bias_after_the_rounding_is_a_second_one(arithmetic, bias, dtype, stored):
    """CuDNN's result is rounded before cudnn_last adds the bias: inside the bound of two roundings, beyond that of one."""
    asked = problem("conv1d", c=(16, 8), extents=(4000,), k=1, dtype=dtype, precision="ieee", bias=bias)
    kernel = load("cudnn_last")
    found = arithmetic.arithmetic_of(kernel, asked, kernel.default(asked, by_slug("h100")))
    assert found.stored == stored
    if stored == 1:
        return
    x, weight, offset = make_tensors(asked, torch.device("cpu"))
    parts = (x, weight, offset, choose_part(asked))
    precise, magnitude = reference(asked, *parts), arithmetic.magnitudes(asked, *parts)
    convolved = reference(asked, x, weight, None, choose_part(asked)).half()
    apart = ((convolved.float() + offset.reshape(-1, 1, 1, 1).float()).half().double() - precise).abs()
    assert bool((apart <= arithmetic.farthest(asked, found, precise, magnitude, offset)).all())
    assert int((apart > arithmetic.farthest(asked, found._replace(stored=1), precise, magnitude)).sum()) > 100


@pytest.mark.parametrize(("products", "length"), [("ieee", 1500), ("tf32", 300), ("tf32x3", 900)])
def test_a_product_left_out_is_beyond_the_bound(arithmetic, products, length):
    """In sums of hundreds of products one that is missing everywhere shows in many elements."""
    asked = problem("conv1d", c=(length, 1), extents=(500,), k=1, precision="ieee")
    tensors = make_tensors(asked, torch.device("cpu"))
    unit = "fma" if products == "ieee" else "tensor"
    precise, farthest = limits(arithmetic, asked, tensors, unit, products)
    x, weight, _ = tensors
    missing = precise.flatten() - x[0, 7].double() * weight[0, 7].double()
    assert int(((missing - precise.flatten()).abs() > farthest.flatten()).sum()) > 100


def shifted(times, arithmetic, every):
    """A kernel that is off by so many times the bound of exact products, in one element or in all."""

    def run(x, weight, bias, out):
        precise, farthest = limits(arithmetic, PROBLEM, (x, weight, bias), "fma", "ieee")
        wrong = precise + times * farthest
        exact(x, weight, bias, out)
        theirs = cut(PROBLEM, out, choose_part(PROBLEM))
        if every:
            theirs.copy_(wrong)
        else:
            theirs[1, 1, 2, 0, 3, 4] = wrong[1, 1, 2, 0, 3, 4]
        return out

    return run


@pytest.mark.parametrize(
    ("times", "every", "status"),
    [(1.05, False, "wrong"), (1.05, True, "wrong"), (0.95, True, "refused"), (0.95, False, "refused"), (0.0, True, "ok")],
)  # fmt: skip
def test_a_little_more_than_the_bound_is_wrong(arithmetic, launches, times, every, status):
    """Beyond the bound by a twentieth is a bug, in one element too; below it, and outside torch's contract, is arithmetic."""
    found = launches(shifted(times, arithmetic, every))
    assert found.status == status
    assert ("beyond what their arithmetic can give" in found.detail) == (status == "wrong")
    assert ("torch's" in found.detail) == (status == "refused")


@pytest.mark.parametrize(("precision", "status"), [("ieee", "wrong"), ("tf32", "ok")])
def test_tf32_is_judged_by_the_declared_precision(launches, precision, status):
    """Rounding the factors to TF32 is right where that is declared, though torch is exact, and beyond exact products elsewhere."""

    def run(x, weight, bias, out):
        return exact(nearest_tf32(x), nearest_tf32(weight), bias, out)

    assert launches(run, PROBLEM._replace(precision=precision)).status == status


def test_an_unwritten_element_is_wrong(launches):
    """NaN is beyond every bound."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)[0, 0, 0, 0] = float("nan")
        return out

    found = launches(run)
    assert found.status == "wrong"
    assert "1 of" in found.detail


def test_three_products_of_tf32_are_refused_and_not_wrong(launches):
    """What a sweep of exact products would not take for its error of 6e-8 is no bug: the case of 464 launches on an H100."""

    def run(x, weight, bias, out):
        (high, low), (w_high, w_low) = split(x), split(weight)
        total = torch.zeros_like(out, dtype=torch.float64)
        for one, other, added in ((low, w_high, 0 * bias), (high, w_low, 0 * bias), (high, w_high, bias)):
            total += exact(one, other, added, torch.empty_like(total))
        return out.copy_(total)

    found = launches(run)
    assert found.status == "refused"
    assert "error against float64 must be at most" in found.detail
