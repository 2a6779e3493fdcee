"""The phase arithmetic against the definition of a convolution, axis by axis."""

import itertools
import types
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

geometry = pytest.importorskip("tunedb.kernels.shared.geometry")
bounds = pytest.importorskip("tunedb.kernels.shared.limits")

from awkward import problem  # noqa: E402

from tunedb.errors import ProblemError  # noqa: E402

SIZES = {
    "length": st.integers(1, 9),
    "taps": st.integers(1, 8),
    "stride": st.integers(1, 8),
    "padding": st.integers(0, 12),
    "dilation": st.integers(1, 8),
}


def transposed(length, taps, stride, padding, output_padding, dilation):
    """A transposed problem of one axis, or None where torch refuses it."""
    try:
        return problem(
            "conv_transpose1d", extents=length, k=taps, s=stride, p=padding, op_=output_padding, d=dilation
        )
    except ProblemError:
        return None


def pairs(given_problem, output):
    """The (input, tap) pairs of an output by definition: o + p = i s + k d, or i = o s - p + k d."""
    s, p, d = given_problem.stride_w, given_problem.padding_w, given_problem.dilation_w
    return {
        (i, k)
        for i, k in itertools.product(range(given_problem.in_w), range(given_problem.k_w))
        if (output + p == i * s + k * d if given_problem.transposed else i == output * s - p + k * d)
    }


def tried(axis, output):
    """The (position, tap) pairs that a kernel tries for an output, as the class Axis defines them."""
    phase, j = output % axis.residues, output // axis.residues
    first, count, start = geometry.taps_of_residue(axis, phase)
    return [(start + j * axis.step + t * axis.reach, first + t * axis.hop) for t in range(count)]


def check(given_problem, *, masked=False):
    axis = geometry.axes(given_problem, masked=masked)[2]
    for output in range(given_problem.out_extents[2]):
        found = tried(axis, output)
        kept = [
            (position // axis.divisor, k)
            for position, k in found
            if position % axis.divisor == 0 and 0 <= position // axis.divisor < given_problem.in_w
        ]
        assert all(0 <= k < axis.taps for _, k in found)
        assert len(set(kept)) == len(kept)
        assert set(kept) == pairs(given_problem, output)
        if not axis.guard:
            assert len(kept) == len(found)
        if not masked and given_problem.transposed:
            # No tap is tried that the stride does not divide: what is not kept lies outside the input.
            k_of_phase = {
                k for k in range(axis.taps)
                if (output + given_problem.padding_w - k * given_problem.dilation_w) % given_problem.stride_w == 0
            }  # fmt: skip
            assert {k for _, k in found} == k_of_phase


@settings(max_examples=500, deadline=None)
@given(**SIZES, output_padding=st.integers(0, 7))
def test_phases_of_transposed_axes(length, taps, stride, padding, output_padding, dilation):
    """Each pair that contributes to an output is one of its phase's taps, once, and no other is kept."""
    if found := transposed(length, taps, stride, padding, output_padding, dilation):
        check(found)


@settings(max_examples=200, deadline=None)
@given(**SIZES, output_padding=st.integers(0, 7))
def test_masked_axes(length, taps, stride, padding, output_padding, dilation):
    """With masks there is one phase and every tap is tried; the divisor keeps exactly those that contribute."""
    if found := transposed(length, taps, stride, padding, output_padding, dilation):
        axis = geometry.axes(found, masked=True)[2]
        assert (axis.residues, axis.divisor) == (1, stride)
        check(found, masked=True)


@settings(max_examples=200, deadline=None)
@given(**SIZES)
def test_forward_axes(length, taps, stride, padding, dilation):
    """A forward axis is one phase whose taps read exactly the inputs under the kernel; masks change nothing."""
    try:
        found = problem("conv1d", extents=length, k=taps, s=stride, p=padding, d=dilation)
    except ProblemError:
        return
    check(found)
    assert geometry.axes(found, masked=True) == geometry.axes(found)


def test_unguarded_axes_exist():
    """The cases that need no bounds check are recognised: no padding forward, kernels up to the stride transposed."""
    assert not geometry.axes(problem("conv1d", k=3, d=2))[2].guard
    assert not geometry.axes(problem("conv_transpose1d", k=3, s=5))[2].guard
    assert not geometry.axes(problem("conv_transpose1d", k=1))[2].guard
    assert geometry.axes(problem("conv_transpose1d", k=3, s=5), masked=True)[2].guard


def test_residues_without_taps():
    """With stride 2 and dilation 2 every other output has no taps, and a kernel shorter than the stride leaves gaps."""
    both = geometry.axes(problem("conv_transpose1d", k=3, s=2, p=1, d=2))[2]
    assert [geometry.taps_of_residue(both, phase)[1] for phase in range(2)] == [0, 3]
    short = geometry.axes(problem("conv_transpose1d", k=2, s=5))[2]
    assert [geometry.taps_of_residue(short, phase)[1] for phase in range(5)] == [1, 1, 0, 0, 0]


@given(
    extents=st.tuples(*[st.integers(1, 5)] * 3),
    k=st.tuples(*[st.integers(1, 4)] * 3),
    s=st.tuples(*[st.integers(1, 4)] * 3),
)
def test_axes_are_independent(extents, k, s):
    """Depth, height and width each have the axis that a problem of that axis alone has."""
    whole = problem("conv_transpose3d", extents=extents, k=k, s=s)
    found = geometry.axes(whole)
    for axis, *sizes in zip(found, extents, k, s, strict=True):
        assert axis == geometry.axes(problem("conv_transpose1d", **dict(zip(("extents", "k", "s"), sizes, strict=True))))[2]  # fmt: skip
    assert geometry.residue_count(found) == s[0] * s[1] * s[2]


@given(
    length=st.integers(1, 9),
    taps=st.integers(1, 8),
    stride=st.integers(1, 12),
    output_padding=st.integers(0, 11),
)
def test_phase_lengths(length, taps, stride, output_padding):
    """The longest residue is residue 0, and the lengths of all residues add up to the outputs of the axis."""
    found = transposed(length, taps, stride, 0, output_padding, 1)
    if found is None:
        return
    axes = geometry.axes(found)
    lengths = [len(range(phase, found.out_extents[2], axes[2].residues)) for phase in range(axes[2].residues)]
    assert geometry.residue_lengths(found, axes) == (1, 1, lengths[0])
    assert max(lengths) == lengths[0]
    assert sum(lengths) == found.out_extents[2]


class Device(int):
    """An integer that divides as a GPU does: towards zero, the remainder with the sign of the dividend."""

    def __floordiv__(self, other):
        quotient = abs(int(self)) // abs(int(other))
        return Device(quotient if (self < 0) == (other < 0) else -quotient)

    def __mod__(self, other):
        return Device(int(self) - int(other) * int(self // other))

    def __add__(self, other):
        return Device(int(self) + int(other))

    def __sub__(self, other):
        return Device(int(self) - int(other))

    def __mul__(self, other):
        return Device(int(self) * int(other))

    __radd__, __rmul__ = __add__, __mul__


@pytest.fixture(scope="module")
def on_device():
    """The jitted functions as Python functions, with the one word of Triton's that they use."""
    patch = pytest.MonkeyPatch()
    patch.setattr(
        geometry, "tl", types.SimpleNamespace(where=lambda condition, yes, no: yes if condition else no)
    )
    yield lambda function: getattr(function, "fn", function)
    patch.undo()


@settings(max_examples=300, deadline=None)
@given(**SIZES, output_padding=st.integers(0, 7), masked=st.booleans(), forward=st.booleans())
def test_device_arithmetic(
    on_device, length, taps, stride, padding, output_padding, dilation, masked, forward
):
    """The jitted first_tap and inside, with a GPU's division, agree with taps_of_residue and the definition."""
    try:
        if forward:
            found = problem("conv1d", extents=length, k=taps, s=stride, p=padding, d=dilation)
        else:
            found = problem(
                "conv_transpose1d",
                extents=length,
                k=taps,
                s=stride,
                p=padding,
                op_=output_padding,
                d=dilation,
            )
    except ProblemError:
        return
    axis = geometry.axes(found, masked=masked)[2]
    first_tap, inside = on_device(geometry.first_tap), on_device(geometry.inside)
    for phase in range(axis.residues):
        known, ours = geometry.taps_of_residue(axis, phase), first_tap(Device(phase), axis)
        assert ours[1] == known[1]
        assert not known[1] or ours == known  # without taps neither k0 nor start is used
    for output in range(found.out_extents[2]):
        kept = set()
        for position, k in tried(axis, output):
            index, ok = inside(Device(position), found.in_w, axis)
            if ok:
                kept.add((int(index), k))
        assert kept == pairs(found, output)


@pytest.mark.parametrize(
    ("extents", "large"), [((2**14, 2**15), True), ((2**14, 2**15 - 1), False), ((1, 2**29), True)]
)
def test_is_large(extents, large):
    """A sample of 2^31 elements or more, of input or output, needs 64-bit offsets; a batch of small ones does not."""
    assert geometry.is_large(problem("conv2d", c=(4, 1), extents=extents, k=1)) == large
    assert geometry.is_large(problem("conv2d", c=(1, 4), extents=extents, k=1)) == large
    assert not geometry.is_large(problem("conv2d", n=2**20, c=(4, 4), extents=(64, 64), k=1))


class Config(NamedTuple):
    ORDER: str
    BLOCK_W: int
    num_warps: int
    num_stages: int


def test_problem_constants():
    """What a problem fixes at compile time is that of one group, with the rows' alignment."""
    found = geometry.problem_constants(
        problem("conv2d", c=(6, 9), extents=8, k=3, groups=3, bias=1, layout="channels_last"),
        ("depth", "height", "width"),
    )
    assert found._asdict() == {
        "c_in": 2, "c_out": 3, "groups": 3, "axis_d": "depth", "axis_h": "height", "axis_w": "width",
        "has_bias": 1, "channels_last": 1, "large": 0, "even_in": 8, "even_out": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"num_warps": 16, "num_stages": 8, "BLOCK_W": 4096}, ""),
        ({"num_stages": 9}, "num_stages must be 1 to 8, but is 9"),
        ({"num_stages": 0}, "num_stages must be 1 to 8, but is 0"),
        ({"num_warps": 32}, "num_warps must be a power of two, at most 16, but is 32"),
        ({"num_warps": 3}, "num_warps must be a power of two, at most 16, but is 3"),
        ({"BLOCK_W": 0}, "BLOCK_W must be a power of two, at most 4096, but is 0"),
        ({"BLOCK_W": -64}, "BLOCK_W must be a power of two, at most 4096, but is -64"),
        ({"BLOCK_W": 8192}, "BLOCK_W must be a power of two, at most 4096, but is 8192"),
        ({"ORDER": "x"}, "ORDER must be one of ('m', 'n'), but is 'x'"),
    ],
)
def test_shape_flaw(change, why):
    """Blocks, warps, stages and names outside of what any problem allows are refused by their name."""
    assert bounds.shape_flaw(Config("m", 64, 4, 3)._replace(**change), {"ORDER": ("m", "n")}) == why
