import itertools
import math

import pytest
import torch
from awkward import problem
from hypothesis import given
from hypothesis import strategies as st
from tunedb.kernels.depthwise.weights import tap_major
from tunedb.kernels.direct.weights import column_major
from tunedb.kernels.implicit_gemm.weights import k_major, row_length
from tunedb.kernels.shared.weight_layouts import nearest_tf32
from tunedb.kernels.shared_rows.weights import core_major

SHAPES = [
    problem("conv1d", c=(3, 5), k=4),
    problem("conv2d", c=(6, 9), extents=(5, 6), k=(3, 2), groups=3),
    problem("conv3d", c=(2, 4), extents=(3, 4, 5), k=(1, 2, 3), dtype="float16"),
    problem("conv_transpose1d", c=(7, 3), k=5, s=2),
    problem("conv_transpose2d", c=(4, 6), extents=3, k=(2, 3), groups=2, dtype="bfloat16"),
    problem("conv_transpose3d", c=(8, 8), extents=2, k=2, groups=4),
    problem("conv2d", c=(16, 16), extents=3, k=1),
]


def weight_of(given_problem, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(given_problem.weight_shape, generator=generator)
    return drawn.to(getattr(torch, given_problem.dtype))


def tap_value(given_problem, weight, c_out, tap, channel):
    """The weight between an output channel and a channel of its group at a tap, by torch's definition."""
    per_group = given_problem.c_out // given_problem.groups
    at = tap_index(given_problem, tap)
    if given_problem.transposed:
        group = c_out // per_group
        first = group * (given_problem.c_in // given_problem.groups) + channel
        return weight[(first, c_out % per_group, *at)]
    return weight[(c_out, channel, *at)]


def tap_index(given_problem, tap):
    kernel = given_problem.kernel[3 - given_problem.rank :]
    return list(itertools.product(*map(range, kernel)))[tap]


@pytest.mark.parametrize("given_problem", SHAPES, ids=lambda one: f"{one.op}-{one.groups}")
def test_k_major(given_problem):
    """Each output channel has a row: the taps in order, for each tap the group's channels, then zeros."""
    weight = weight_of(given_problem)
    packed = k_major(given_problem, rounded=False)(weight)
    taps, channels = math.prod(given_problem.kernel), given_problem.c_in // given_problem.groups
    assert packed.shape == (given_problem.c_out, row_length(given_problem))
    assert packed.dtype == weight.dtype
    assert packed.is_contiguous()
    for c_out, tap, channel in itertools.product(range(given_problem.c_out), range(taps), range(channels)):
        expected = tap_value(given_problem, weight, c_out, tap, channel)
        assert packed[c_out, tap * channels + channel] == expected
    assert not packed[:, taps * channels :].any()


@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_column_major(op):
    """Every weight is at its group, tap, input channel and output channel, and all else is zero."""
    given = problem(op, c=(6, 10), extents=8, k=(2, 3), groups=2)
    weight = torch.randn(given.weight_shape)
    packed = column_major(given, rows=4, row=8)(weight)
    assert packed.shape == (2, 6, 4, 8)
    for group, i, o, tap in itertools.product(range(2), range(3), range(5), range(6)):
        first = (group * 3 + i, o) if given.transposed else (group * 5 + o, i)
        assert packed[group, tap, i, o] == weight[(*first, tap // 3, tap % 3)]
    assert packed[:, :, 3:].abs().max() == 0
    assert packed[..., 5:].abs().max() == 0


PLAIN = {"residues": (), "sides": (), "wide": 1}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stack", [1, 2])
def test_core_major(transposed, stack):
    """Blocks of rows, steps, taps, vectors of channels: a line's weights lie at its own place among the height taps."""
    op = "conv_transpose2d" if transposed else "conv2d"
    given = problem(op, c=(20, 40), extents=9, k=(3, 2), dtype="float16")
    weight = weight_of(given)
    packed = core_major(
        given, **PLAIN, stack=stack, high=1, block_m=64, block_k=16, few=False, rounded=False
    )(weight)
    of_line, steps = 64 // stack, (2 + stack) * 2
    assert packed.shape[:2] == (1, -(-40 // of_line))
    flat = packed.reshape(-1, steps, 2, 2, stack, of_line, 8)
    for line, channel, k_h, k_w, c_in in itertools.product(
        range(stack), (0, 39), range(3), range(2), (0, 19)
    ):
        step = (k_h + line) * 2 + c_in // 16
        found = flat[channel // of_line, step, k_w, c_in % 16 // 8, line, channel % of_line, c_in % 8]
        tap = (2 - k_h, 1 - k_w) if transposed else (k_h, k_w)
        assert found == (weight[(c_in, channel, *tap)] if transposed else weight[(channel, c_in, *tap)])
    assert int((packed != 0).sum()) == stack * int((weight != 0).sum())


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_core_major_by_residue(layout):
    """A strided transposed problem's rows are residues of the width: innermost in channels_first, outermost in channels_last."""
    given = problem("conv_transpose1d", c=(8, 6), extents=9, k=4, s=2, p=1, dtype="float16", layout=layout) if layout == "channels_first" else problem("conv_transpose2d", c=(8, 6), extents=(1, 9), k=(1, 4), s=(1, 2), p=(0, 1), dtype="float16", layout=layout)  # fmt: skip
    weight = weight_of(given)
    # Output 2q + r reads input q + e with weight k where r + 1 - k = 2e; the window begins at e = -1.
    sides, residues = ((1, 1, 1, 0), (1, 1, 1, 0), (3, 1, 1, 1)), ((1, 1, 0), (1, 1, 0), (2, 1, 0))
    pack = core_major(given, residues=residues, sides=sides, wide=2, stack=1, high=1, block_m=16, block_k=16, few=False, rounded=False)  # fmt: skip
    flat = pack(weight).reshape(3, 2, 16, 8)
    for r, k, c_out, c_in in itertools.product(range(2), range(4), range(6), range(8)):
        row = c_out * 2 + r if layout == "channels_first" else r * 8 + c_out
        if (r + 1 - k) % 2 == 0:
            assert flat[(r + 1 - k) // 2 + 1, 0, row, c_in] == weight.reshape(8, 6, 4)[c_in, c_out, k]
    assert int((flat != 0).sum()) == int((weight != 0).sum())


def test_core_major_of_few_channels():
    """Four channels of each of four neighbouring taps are one tap's vectors."""
    given = problem("conv2d", c=(3, 5), extents=19, k=(1, 7), dtype="float16")
    weight = weight_of(given)
    packed = core_major(given, **PLAIN, stack=1, high=1, block_m=64, block_k=16, few=True, rounded=False)(
        weight
    )
    flat = packed.reshape(2, 2, 64, 2, 4)
    for c_out, c_in, tap in itertools.product(range(5), range(3), range(7)):
        assert flat[tap // 4, tap % 4 // 2, c_out, tap % 2, c_in] == weight[c_out, c_in, 0, tap]
    assert int((packed != 0).sum()) == int((weight != 0).sum())


@pytest.mark.parametrize("given_problem", SHAPES, ids=lambda one: f"{one.op}-{one.groups}")
def test_row_length(given_problem):
    """A row has room for its taps and channels, starts on 32 bytes or more, and wastes less than that."""
    used = math.prod(given_problem.kernel) * given_problem.c_in // given_problem.groups
    assert 0 <= row_length(given_problem) - used < 16
    assert row_length(given_problem) % 16 == 0


@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_tap_major(op, multiplier):
    """Depthwise weights become a row of output channels for each tap."""
    given_problem = problem(op, c=(5, 5 * multiplier), extents=4, k=(2, 3), groups=5)
    weight = weight_of(given_problem)
    packed = tap_major(given_problem)(weight)
    assert packed.shape == (6, 5 * multiplier)
    assert packed.is_contiguous()
    for tap, c_out in itertools.product(range(6), range(5 * multiplier)):
        assert packed[tap, c_out] == tap_value(given_problem, weight, c_out, tap, 0)


@pytest.mark.parametrize("pack", [lambda one: k_major(one, rounded=True), tap_major])
def test_strides_of_the_weight_do_not_matter(pack):
    """A weight in channels_last or as a view packs to the same as its contiguous copy."""
    given_problem = problem("conv2d", c=(6, 6), extents=4, k=3, groups=6)
    weight = weight_of(given_problem)
    view = torch.stack([weight, weight], -1)[..., 1]
    assert not view.is_contiguous()
    for other in (weight.to(memory_format=torch.channels_last), view):
        assert torch.equal(pack(given_problem)(other), pack(given_problem)(weight))


def exactly_rounded(value):
    """The nearest number of 11 significant bits and float32's exponents, ties away from zero."""
    if not math.isfinite(value) or value == 0:
        return value
    _, exponent = math.frexp(value)
    quantum = 2.0 ** (max(exponent, -125) - 11)
    rounded = math.floor(abs(value) / quantum + 0.5) * quantum
    return math.copysign(math.inf if rounded >= 2.0**128 else rounded, value)


@given(st.lists(st.floats(width=32), min_size=1))
def test_nearest_tf32(values):
    """Every float32 becomes the nearest TF32, ties away from zero; infinity and NaN stay what they are."""
    found = nearest_tf32(torch.tensor(values, dtype=torch.float32)).tolist()
    for value, ours in zip(values, found, strict=True):
        expected = exactly_rounded(value)
        assert (math.isnan(ours) and math.isnan(expected)) or ours == expected
        assert math.isnan(value) or math.copysign(1, ours) == math.copysign(1, value)


def test_nearest_tf32_at_its_edges():
    """Ties go away from zero, the largest numbers to infinity, and every kind of NaN stays NaN."""
    one_up = 1 + 2.0**-10
    given_values = [1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-11 - 2.0**-23, 3.4028234e38, -0.0]
    assert nearest_tf32(torch.tensor(given_values)).tolist() == [one_up, -one_up, 1.0, math.inf, 0.0]
    bits = torch.tensor([0x7F800001, 0x7FFFFFFF, -1, 0x7FC00000 | 0x1FFF], dtype=torch.int32)
    assert nearest_tf32(bits.view(torch.float32)).isnan().all()


def test_rounding_is_asked_for():
    """`rounded` rounds the packed float32 weights, and without it every bit stays."""
    given_problem = problem("conv1d", c=(3, 5))
    weight = weight_of(given_problem)
    exact = k_major(given_problem, rounded=False)(weight)
    rounded = k_major(given_problem, rounded=True)(weight)
    assert torch.equal(rounded, nearest_tf32(exact))
    assert not torch.equal(rounded, exact)
    assert not (rounded.view(torch.int32) & 0x1FFF).any()


@pytest.mark.parametrize("op", ["conv1d", "conv_transpose1d"])
def test_packed_weights_are_aligned(op):
    """A packed weight is memory of its own, aligned as compiled code takes it to be, even where packing moves nothing."""
    weight = torch.ones(40)[1:17].view(16, 1, 1)
    packed = tap_major(problem(op, c=(16, 16), k=1, groups=16))(weight)
    assert packed.data_ptr() % 16 == 0
    assert packed.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()
