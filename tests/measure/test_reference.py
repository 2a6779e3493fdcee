"""The float64 reference: equal to torch's own float64 convolution on whatever shape, and affordable."""

import json
import math
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tunedb.errors import ProblemError
from tunedb.measure import reference as ref
from tunedb.problem import OPS, Problem, checked


def problem(op="conv2d", *, n=2, c_in=4, c_out=6, groups=1, bias=1, dtype="float64", **axes):
    """A problem whose axes are given with the operation's own rank."""
    rank = int(op[-2])
    full = {"extents": (7,) * rank, "kernel": (3,) * rank, "stride": (1,) * rank, "padding": (0,) * rank,
            "output_padding": (0,) * rank, "dilation": (1,) * rank} | axes  # fmt: skip
    fill = {"padding": 0, "output_padding": 0}
    fields = [value for name in ("extents", "kernel", "stride", "padding", "output_padding", "dilation")
              for value in (*(fill.get(name, 1),) * (3 - rank), *full[name])]  # fmt: skip
    return Problem(op, dtype, "ieee", "channels_first", n, c_in, c_out, groups, bias, *fields)


def tensors(given, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    make = lambda shape: torch.randn(shape, generator=generator, dtype=dtype)  # noqa: E731
    return make(given.input_shape), make(given.weight_shape), make(given.c_out) if given.bias else None


def by_torch(given, x, weight, bias):
    lead = slice(3 - given.rank, None)
    sizes = {"stride": given.stride[lead], "padding": given.padding[lead], "dilation": given.dilation[lead]}
    if given.transposed:
        sizes["output_padding"] = given.output_padding[lead]
    return getattr(F, given.op)(x, weight, bias, groups=given.groups, **sizes)


def everything(given):
    return ref.Part(
        tuple(range(given.n)), tuple(range(given.groups)), tuple(range(given.c_out // given.groups))
    )


AWKWARD = [
    problem("conv1d", extents=(37,), stride=(3,), dilation=(2,), padding=(5,)),
    problem("conv2d", groups=2, extents=(5, 9), kernel=(2, 5), stride=(2, 1), padding=(3, 4), dilation=(1, 2)),
    problem("conv2d", c_in=6, c_out=6, groups=6, extents=(8, 5), kernel=(3, 1), bias=0),
    problem("conv2d", c_in=3, c_out=9, groups=3),  # depthwise with a multiplier
    problem("conv2d", n=1, extents=(1, 1), kernel=(1, 1)),
    problem("conv2d", extents=(4, 4), kernel=(2, 2), padding=(7, 7)),  # whole rows of the output see only padding
    problem("conv3d", groups=2, extents=(3, 5, 4), kernel=(1, 3, 2), stride=(2, 1, 3), padding=(1, 0, 2)),
    problem("conv_transpose1d", extents=(11,), kernel=(5,), stride=(3,), output_padding=(2,), padding=(1,)),
    problem("conv_transpose1d", extents=(11,), kernel=(3,), stride=(4,), dilation=(2,), padding=(1,)),  # shared factor
    problem("conv_transpose2d", groups=2, extents=(4, 3), kernel=(2, 4), stride=(5, 2), output_padding=(4, 1)),
    problem("conv_transpose2d", extents=(9, 10), kernel=(3, 3), padding=(4, 5)),  # padding larger than the reach
    problem("conv_transpose2d", c_in=4, c_out=4, groups=4, extents=(5, 6), stride=(2, 2), dilation=(2, 3)),
    problem("conv_transpose3d", groups=2, extents=(2, 3, 4), kernel=(3, 2, 1), stride=(2, 2, 2), padding=(1, 0, 0), output_padding=(1, 0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    "given_problem", AWKWARD, ids=lambda given: f"{given.op}-{given.kernel}-{given.stride}-{given.padding}"
)
def test_reference_is_torchs_float64_on_awkward_shapes(given_problem):
    """Strides, dilations, groups and paddings of every kind give torch's float64 result."""
    x, weight, bias = tensors(given_problem)
    ours = ref.reference(given_problem, x, weight, bias, everything(given_problem))
    theirs = by_torch(given_problem, x, weight, bias)
    torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_reference_is_torchs_float64_everywhere(data):
    """Any problem that torch accepts has torch's float64 result."""
    op = data.draw(st.sampled_from(OPS))
    rank = int(op[-2])
    axis = lambda low, high: data.draw(st.tuples(*[st.integers(low, high)] * rank))  # noqa: E731
    groups = data.draw(st.integers(1, 3))
    given_problem = problem(
        op, n=data.draw(st.integers(1, 2)), c_in=groups * data.draw(st.integers(1, 3)), c_out=groups * data.draw(st.integers(1, 3)),
        groups=groups, bias=data.draw(st.integers(0, 1)), extents=axis(1, 6), kernel=axis(1, 4), stride=axis(1, 4),
        padding=axis(0, 4), dilation=axis(1, 3), output_padding=axis(0, 2) if "transpose" in op else (0,) * rank,
    )  # fmt: skip
    try:
        checked(given_problem._replace(dtype="float32"))
    except ProblemError:
        assume(False)
    x, weight, bias = tensors(given_problem)
    ours = ref.reference(given_problem, x, weight, bias, everything(given_problem))
    theirs = by_torch(given_problem, x, weight, bias)
    torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_part_is_cut_from_the_whole(groups, last):
    """The reference of a part is that part of the whole, and a result is cut alike in either layout."""
    given_problem = problem("conv_transpose2d", n=5, groups=groups, stride=(2, 1))
    x, weight, bias = tensors(given_problem)
    part = ref.Part((0, 2, 4), (groups - 1,), (0, 2))
    theirs = by_torch(given_problem, x, weight, bias)
    if last:
        x, theirs = (t.contiguous(memory_format=torch.channels_last) for t in (x, theirs))
    ours = ref.reference(given_problem, x, weight, bias, part)
    assert ours.shape == (3, 1, 2, 1, *theirs.shape[2:])
    torch.testing.assert_close(ref.cut(given_problem, theirs, part), ours, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        ours[1, 0, 1, 0], theirs[2, (groups - 1) * (6 // groups) + 2], rtol=1e-12, atol=1e-12
    )


def suite_problems():
    for name in ("kernelbench", "models"):
        for line in json.loads(files("tunedb.suites").joinpath(f"{name}.json").read_text()):
            yield pytest.param(
                problem(line["op"], n=line["n"], c_in=line["c_in"], c_out=line["c_out"], groups=line["groups"], dtype="float32",
                        extents=tuple(line["spatial_in"]), kernel=tuple(line["kernel"]), stride=tuple(line["stride"]),
                        padding=tuple(line["padding"]), output_padding=tuple(line["output_padding"]), dilation=tuple(line["dilation"])),
                id=line["id"],
            )  # fmt: skip


@pytest.mark.parametrize("given_problem", list(suite_problems()))
def test_every_reference_of_the_suites_is_affordable(given_problem):
    """The part chosen fits the budget and keeps the first and last sample, group and channel."""
    part = ref.choose_part(given_problem)
    share = ref._share(given_problem, part)
    assert share <= 1 or (len(part.samples) <= 2 and min(len(part.groups) * len(part.channels), 8) == 8)
    assert share <= 6
    for indices, size in zip(
        part,
        (given_problem.n, given_problem.groups, given_problem.c_out // given_problem.groups),
        strict=True,
    ):
        assert (indices[0], indices[-1]) == (0, size - 1)
        assert len(set(indices)) == len(indices)


def test_a_small_problem_is_checked_whole():
    """Nothing is left out where everything is affordable."""
    given_problem = problem(n=3, groups=2)
    assert ref.choose_part(given_problem) == everything(given_problem)


def test_fewer_channels_where_two_samples_are_too_many():
    """A huge problem is cut along samples, then channels or groups."""
    huge = problem(
        "conv3d", n=4, c_in=256, c_out=256, extents=(64, 128, 128), padding=(1, 1, 1), dtype="float32"
    )
    part = ref.choose_part(huge)
    assert part.samples == (0, 3)
    assert 8 <= len(part.channels) < 256
    grouped = ref.choose_part(huge._replace(groups=64, c_in=1024))
    assert 8 <= len(grouped.groups) < 64
    assert len(grouped.channels) == 4


def test_deviation_is_relative_and_never_hides_a_nan():
    """The error is relative to the reference's norm; one NaN or infinity anywhere is an infinite error."""
    exact = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert ref.deviation(torch.tensor([3.0, 4.5]), exact) == pytest.approx((0.1, 0.5))
    for bad in (math.nan, math.inf):
        assert ref.deviation(torch.tensor([3.0, bad]), exact) == (math.inf, math.inf)
