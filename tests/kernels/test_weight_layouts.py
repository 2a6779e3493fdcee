"""Every family's layout puts each weight where its kernel reads it, by formulas that are written here once more."""

import itertools
import math

import pytest
import torch
from awkward import problem
from tunedb.kernels.depthwise.weights import tap_major
from tunedb.kernels.direct.weights import column_major
from tunedb.kernels.implicit_gemm.weights import k_major, row_length
from tunedb.kernels.kn2row.weights import width_major, width_row
from tunedb.kernels.packed.shape import residues_of_row
from tunedb.kernels.packed.weights import residue_major, window_major, window_row
from tunedb.kernels.shared.packing import packing_of
from tunedb.kernels.shared_rows.weights import core_major

from tunedb.weights.layout import nearest_tf32, pack_with_torch

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
    packed = pack_with_torch(k_major(given_problem, rounded=False), weight)
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
    packed = pack_with_torch(column_major(given, rows=4, row=8), weight)
    assert packed.shape == (2, 6, 4, 8)
    for group, i, o, tap in itertools.product(range(2), range(3), range(5), range(6)):
        first = (group * 3 + i, o) if given.transposed else (group * 5 + o, i)
        assert packed[group, tap, i, o] == weight[(*first, tap // 3, tap % 3)]
    assert packed[:, :, 3:].abs().max() == 0
    assert packed[..., 5:].abs().max() == 0


@pytest.mark.parametrize("op", ["conv3d", "conv_transpose3d"])
def test_width_major(op):
    """For every width tap a matrix of an output channel's other taps and input channels, then zeros."""
    given = problem(op, c=(6, 10), extents=8, k=(2, 3, 4), groups=2, dtype="float16")
    weight = weight_of(given)
    packed = pack_with_torch(width_major(given, rounded=False), weight)
    assert packed.shape == (2, 4, 5, width_row(given)) == (2, 4, 5, 32)
    for c_out, channel, d, h, w in itertools.product(range(10), range(3), range(2), range(3), range(4)):
        expected = tap_value(given, weight, c_out, (d * 3 + h) * 4 + w, channel)
        assert packed[c_out // 5, w, c_out % 5, (d * 3 + h) * 3 + channel] == expected
    assert not packed[..., 18:].any()


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_window_major(op, layout):
    """Output s of a span has its taps s steps later in the shared window; a transposed problem has them reversed."""
    given = problem(op, c=(10, 4), extents=9, k=(2, 5), s=(1, 1 if op == "conv_transpose2d" else 2), groups=2, layout=layout)  # fmt: skip
    packing, weight, step = packing_of(given), weight_of(given), given.stride_w
    assert (packing.inner, packing.channels) == (2, 8)  # 5 channels, made up to whole vectors
    packed = pack_with_torch(window_major(given, packing, 2, rounded=False), weight)
    assert packed.shape == (8, 2, window_row((step + 5) * 8))
    for c_out, s, k_h, k_w, c_in in itertools.product(range(4), range(2), range(2), range(5), range(5)):
        group, channel = divmod(c_out, 2)
        row = (group * 2 + s) * 2 + channel if layout == "channels_last" else (group * 2 + channel) * 2 + s
        tap = (1 - k_h) * 5 + 4 - k_w if given.transposed else k_h * 5 + k_w
        found = packed[row, k_h, (k_w + s * step) * 8 + c_in]
        assert found == tap_value(given, weight, c_out, tap, c_in)
    assert int((packed != 0).sum()) == 2 * int((weight != 0).sum())


def test_window_major_of_a_dilated_axis():
    """Taps that are not neighbours are a run each, the inner axis' last."""
    given = problem("conv2d", c=(5, 4), extents=19, k=(3, 2), d=(2, 3))
    packing, weight = packing_of(given)._replace(inner=1), weight_of(given)
    packed = pack_with_torch(window_major(given, packing, 1, rounded=False), weight)
    assert packed.shape == (4, 6, 16)
    for c_out, k_h, k_w, c_in in itertools.product(range(4), range(3), range(2), range(5)):
        assert packed[c_out, k_w * 3 + k_h, c_in] == weight[c_out, c_in, k_h, k_w]
    assert int((packed != 0).sum()) == int((weight != 0).sum())


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("stride", "dilation"), [((2, 3), (1, 1)), ((3, 4), (2, 6)), ((4, 1), (4, 2))])
def test_residue_major(layout, stride, dilation):
    """Residue r meets tap k at tap (r + padding - k * dilation) / stride + lead of the window, where that is whole."""
    given = problem("conv_transpose2d", c=(5, 6), extents=8, k=(3, 4), s=stride, p=(1, 2), d=dilation, layout=layout)  # fmt: skip
    packing, weight = packing_of(given), weight_of(given)
    span, channels = residues_of_row(packing), packing.channels
    packed = pack_with_torch(residue_major(given, packing, span, rounded=False), weight)
    (live_h, gap_h, first_h), (live_w, gap_w, first_w) = packing.residues[1:]
    window = (packing.height.taps, packing.width.taps, channels)
    used = packed[..., : channels if stride[1] == 1 else math.prod(window[1:])]
    if layout == "channels_last":
        dense = used.reshape(live_h, span, 6, *window).permute(2, 0, 1, 3, 4, 5)
    else:
        dense = used.reshape(6, live_h, span, *window)
    expected = torch.zeros_like(dense)
    for q_h, q_w, k_h, k_w in itertools.product(range(live_h), range(live_w), range(3), range(4)):
        far_h = first_h + gap_h * q_h + 1 - k_h * dilation[0]
        far_w = first_w + gap_w * q_w + 2 - k_w * dilation[1]
        if far_h % stride[0] == 0 and (stride[1] == 1 or far_w % stride[1] == 0):
            e_w = 3 - k_w if stride[1] == 1 else far_w // stride[1] + packing.width.lead
            e_h = far_h // stride[0] + packing.height.lead
            expected[:, q_h, q_w, e_h, e_w, :5] = weight[:, :, k_h, k_w].t()
    assert expected.any()
    assert torch.equal(dense, expected)
    assert int((packed != 0).sum()) == int((expected != 0).sum())


PLAIN = {"residues": (), "sides": (), "wide": 1}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stack", [1, 2])
def test_core_major(transposed, stack):
    """Blocks of rows, steps, taps, vectors of channels: a line's weights lie at its own place among the height taps."""
    op = "conv_transpose2d" if transposed else "conv2d"
    given = problem(op, c=(20, 40), extents=9, k=(3, 2), dtype="float16")
    weight = weight_of(given)
    layout = core_major(given, **PLAIN, stack=stack, high=1, block_m=64, block_k=16, few=False, rounded=False)
    packed = pack_with_torch(layout, weight)
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
    described = core_major(given, residues=residues, sides=sides, wide=2, stack=1, high=1, block_m=16, block_k=16, few=False, rounded=False)  # fmt: skip
    flat = pack_with_torch(described, weight).reshape(3, 2, 16, 8)
    for r, k, c_out, c_in in itertools.product(range(2), range(4), range(6), range(8)):
        row = c_out * 2 + r if layout == "channels_first" else r * 8 + c_out
        if (r + 1 - k) % 2 == 0:
            assert flat[(r + 1 - k) // 2 + 1, 0, row, c_in] == weight.reshape(8, 6, 4)[c_in, c_out, k]
    assert int((flat != 0).sum()) == int((weight != 0).sum())


def test_core_major_of_few_channels():
    """Four channels of each of four neighbouring taps are one tap's vectors."""
    given = problem("conv2d", c=(3, 5), extents=19, k=(1, 7), dtype="float16")
    weight = weight_of(given)
    layout = core_major(given, **PLAIN, stack=1, high=1, block_m=64, block_k=16, few=True, rounded=False)
    packed = pack_with_torch(layout, weight)
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
    packed = pack_with_torch(tap_major(given_problem), weight)
    assert packed.shape == (6, 5 * multiplier)
    assert packed.is_contiguous()
    for tap, c_out in itertools.product(range(6), range(5 * multiplier)):
        assert packed[tap, c_out] == tap_value(given_problem, weight, c_out, tap, 0)


@pytest.mark.parametrize("layout", [lambda one: k_major(one, rounded=True), tap_major])
def test_strides_of_the_weight_do_not_matter(layout):
    """A weight in channels_last or as a view packs to the same as its contiguous copy."""
    given_problem = problem("conv2d", c=(6, 6), extents=4, k=3, groups=6)
    weight = weight_of(given_problem)
    view = torch.stack([weight, weight], -1)[..., 1]
    assert not view.is_contiguous()
    for other in (weight.to(memory_format=torch.channels_last), view):
        found, expected = (pack_with_torch(layout(given_problem), one) for one in (other, weight))
        assert torch.equal(found, expected)


def test_rounding_is_asked_for():
    """`rounded` rounds the packed float32 weights, and without it every bit stays."""
    given_problem = problem("conv1d", c=(3, 5))
    weight = weight_of(given_problem)
    exact = pack_with_torch(k_major(given_problem, rounded=False), weight)
    rounded = pack_with_torch(k_major(given_problem, rounded=True), weight)
    assert torch.equal(rounded, nearest_tf32(exact))
    assert not torch.equal(rounded, exact)
    assert not (rounded.view(torch.int32) & 0x1FFF).any()


@pytest.mark.parametrize("op", ["conv1d", "conv_transpose1d"])
def test_packed_weights_are_aligned(op):
    """A packed weight is memory of its own, aligned as compiled code takes it to be, even where packing moves nothing."""
    weight = torch.ones(40)[1:17].view(16, 1, 1)
    packed = pack_with_torch(tap_major(problem(op, c=(16, 16), k=1, groups=16)), weight)
    assert packed.data_ptr() % 16 == 0
    assert packed.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()
