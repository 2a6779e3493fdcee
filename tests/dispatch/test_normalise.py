import pytest
import torch
from awkward import AWKWARD
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tunedb.dispatch.normalise import Call, allow_tf32, is_channels_last, normalised
from tunedb.problem import OPS, is_transposed, rank

TORCH_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def ask(op, x, weight, bias=None, **changed):
    sizes = {**TORCH_DEFAULTS, **changed}
    return normalised(op, x, weight, bias, *sizes.values())


def tensors(op, c=(4, 6), extent=9, k=3, n=2, groups=1, dtype=torch.float32):
    axes = rank(op)
    lead = (c[0], c[1] // groups) if is_transposed(op) else (c[1], c[0] // groups)
    x = torch.randn(n, c[0], *(extent,) * axes).to(dtype)
    return x, torch.randn(*lead, *(k,) * axes).to(dtype)


@pytest.mark.parametrize("reason", AWKWARD)
def test_reads_tensors(reason):
    """Tensors and sizes become the problem that they state."""
    asked = AWKWARD[reason]._replace(precision="ieee")
    dtype, lead = getattr(torch, asked.dtype), 3 - asked.rank
    x, weight = (torch.empty(shape, dtype=dtype) for shape in (asked.input_shape, asked.weight_shape))
    if asked.layout == "channels_last":
        x = x.to(memory_format=torch.channels_last if asked.rank == 2 else torch.channels_last_3d)
    bias = torch.empty(asked.c_out, dtype=dtype) if asked.bias else None
    sizes = {
        name: getattr(asked, name)[lead:] for name in ("stride", "padding", "output_padding", "dilation")
    }
    call = ask(asked.op, x, weight, bias, groups=asked.groups, **sizes)
    assert call.problem._replace(precision="ieee") == asked
    assert (call.batched, call.pad) == (True, ())


@pytest.mark.parametrize("op", OPS)
def test_forms_of_sizes(op):
    """A number, a list, a tuple or one of a single number mean the same, for every size that torch takes so."""
    x, weight = tensors(op)
    axes = rank(op)
    names = ("stride", "padding", "dilation", *(("output_padding",) if is_transposed(op) else ()))
    given_sizes = {"stride": 3, "padding": 2, "dilation": 2, "output_padding": 1}
    reference = ask(op, x, weight, **{name: given_sizes[name] for name in names})
    assert isinstance(reference, Call)
    for form in (lambda size: [size] * axes, lambda size: (size,) * axes, lambda size: (size,), lambda size: [size], lambda size: torch.Size((size,) * axes)):  # fmt: skip
        assert ask(op, x, weight, **{name: form(given_sizes[name]) for name in names}) == reference


@pytest.mark.parametrize("op", OPS)
def test_unbatched(op):
    """An input without a batch dimension is a problem of batch 1, and is known to have come so."""
    x, weight = tensors(op, n=1)
    call = ask(op, x[0], weight)
    assert not call.batched
    assert call.problem == ask(op, x, weight).problem


def test_unbatched_is_never_channels_last():
    """Strides of an input without a batch say nothing about the output's layout, as in torch."""
    x, weight = tensors("conv3d")
    last = x.to(memory_format=torch.channels_last_3d)
    assert ask("conv3d", last, weight).problem.layout == "channels_last"
    assert ask("conv3d", last[0], weight).problem.layout == "channels_first"


@pytest.mark.parametrize("op", OPS[:3])
def test_valid_padding(op):
    """padding="valid" is none."""
    x, weight = tensors(op)
    assert ask(op, x, weight, padding="valid", stride=2) == ask(op, x, weight, stride=2)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("op", OPS[:3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_same_padding(op, k, dilation):
    """padding="same" is the padding that torch applies: half on each side, an odd element at the far end."""
    axes = rank(op)
    x, weight = tensors(op, extent=5, k=k)
    call = ask(op, x, weight, padding="same", dilation=dilation)
    expected = getattr(functional, op)(x, weight, padding="same", dilation=dilation)
    padding = call.problem.padding[3 - axes :]
    ours = getattr(functional, op)(functional.pad(x, call.pad), weight, padding=padding, dilation=dilation)
    assert torch.allclose(ours, expected, atol=1e-4)
    assert call.problem.output_shape == tuple(expected.shape)
    assert bool(call.pad) == (dilation * (k - 1) % 2 == 1)


def test_same_padding_axis_by_axis():
    """An odd element is added only along the axes that need it, each to its own extent."""
    x = torch.randn(2, 3, 7, 8, 9)
    weight = torch.randn(4, 3, 3, 2, 4)
    call = ask("conv3d", x, weight, padding="same", dilation=(1, 1, 1))
    assert call.pad == (0, 1, 0, 1, 0, 0)
    assert call.problem.extents == (7, 9, 10)
    assert call.problem.padding == (1, 0, 1)
    assert call.problem.output_shape == (2, 4, 7, 8, 9)


@pytest.mark.parametrize("place", ["x", "weight"])
@pytest.mark.parametrize("op", ["conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"])
def test_either_tensor_decides_the_layout(op, place):
    """As in torch, channels_last input or channels_last weights make the output channels_last."""
    fmt = torch.channels_last if rank(op) == 2 else torch.channels_last_3d
    x, weight = tensors(op)
    assert ask(op, x, weight).problem.layout == "channels_first"
    if place == "x":
        x = x.to(memory_format=fmt)
    else:
        weight = weight.to(memory_format=fmt)
    assert ask(op, x, weight).problem.layout == "channels_last"


def test_one_dimension_has_one_layout():
    """Torch has no channels_last for one dimension: transposed strides are channels_first."""
    x, weight = torch.randn(2, 9, 4).transpose(1, 2), torch.randn(6, 4, 3)
    assert ask("conv1d", x, weight).problem.layout == "channels_first"


def suggested(tensor):
    """Whether torch suggests channels_last: the layout in which it makes an output that is not ambiguous."""
    upsample = torch.ops.aten.upsample_nearest2d if tensor.dim() == 4 else torch.ops.aten.upsample_nearest3d
    axes = tensor.dim() - 2
    out = upsample(tensor, [2 * size for size in tensor.shape[2:]], *(None,) * axes)
    fmt = torch.channels_last if axes == 2 else torch.channels_last_3d
    return out.stride() == torch.empty(out.shape, memory_format=fmt).stride()


@st.composite
def strided(draw):
    """Shape and strides of a 4-D or 5-D tensor: dense in some order, sliced, broadcast or anything at all."""
    dims = draw(st.integers(4, 5))
    shape = draw(st.lists(st.sampled_from([1, 1, 2, 3, 4]), min_size=dims, max_size=dims))
    orders = (list(range(dims)), [0, *range(2, dims), 1])  # outermost first
    order = draw(st.sampled_from(orders) | st.permutations(range(dims)))
    strides, step = [0] * dims, 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis] * draw(st.sampled_from([1, 1, 1, 2]))
    for axis in draw(st.lists(st.integers(0, dims - 1), max_size=2)):
        strides[axis] = draw(st.integers(0, 40))
    return tuple(shape), tuple(strides)


@settings(max_examples=400, deadline=None)
@given(strided())
def test_channels_last_is_torchs(form):
    """Strides count as channels_last exactly where torch counts them so, sizes of 1 and broadcasts included."""
    tensor = torch.empty_strided(*form).zero_()
    assert is_channels_last(tensor) == suggested(tensor)


def test_channels_last_of_usual_tensors():
    """Contiguous tensors are not channels_last, even of one channel; those in the format and their slices are."""
    x = torch.randn(2, 4, 5, 6)
    last = x.to(memory_format=torch.channels_last)
    assert not is_channels_last(x)
    assert not is_channels_last(torch.randn(1, 1, 1, 1))
    assert is_channels_last(last)
    assert is_channels_last(last[:, :2])
    assert is_channels_last(last[..., ::2])
    assert not is_channels_last(torch.randn(0, 4, 5, 6))


REFUSED = {
    "float64": ({"dtype": torch.float64}, {}, "not for float64"),
    "integers": ({"dtype": torch.int32}, {}, "not for int32"),
    "complex": ({"dtype": torch.complex64}, {}, "not for complex64"),
    "no groups": ({}, {"groups": 0}, "none that torch takes"),
    "groups that is no integer": ({}, {"groups": 1.0}, "none that torch takes"),
    "stride 0": ({}, {"stride": 0}, "stride_h must be an integer of at least 1"),
    "negative padding": ({}, {"padding": -1}, "padding_h must be an integer of at least 0"),
    "two strides for two axes and one more": ({}, {"stride": (1, 1, 1)}, "none that torch takes"),
    "a float": ({}, {"dilation": 1.5}, "none that torch takes"),
    "floats": ({}, {"dilation": (1, 1.5)}, "none that torch takes"),
    "a truth value": ({}, {"stride": True}, "none that torch takes"),
    "none": ({}, {"stride": None}, "none that torch takes"),
    "an unknown word": ({}, {"padding": "full"}, "none that torch takes"),
    "same with a stride": ({}, {"padding": "same", "stride": 2}, "none that torch takes"),
    "groups that do not divide": ({}, {"groups": 3}, "the channels of input, weight and bias do not agree"),
    "kernel beyond the input": ({"k": 10}, {}, "the output must have at least 1 element"),
    "output padding forward": ({}, {"output_padding": 1}, "output_padding of a conv2d must be 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    """What tunedb has no kernels for and what torch refuses is left to torch, with the reason, and nothing is raised."""
    made, sizes, why = REFUSED[what]
    assert why in ask("conv2d", *tensors("conv2d", **made), **sizes)


def test_refused_tensors():
    """Tensors that do not fit each other are left to torch, with the reason."""
    x, weight = tensors("conv2d")
    for bias, why in (
        (torch.zeros(5), "the channels of input, weight and bias do not agree"),
        (torch.zeros(6, 1), "the channels of input, weight and bias do not agree"),
        (torch.zeros(6, dtype=torch.float16), "differ in dtype"),
        (torch.zeros(6, device="meta"), "on different devices"),
    ):
        assert why in ask("conv2d", x, weight, bias)
    assert "differ in dtype" in ask("conv2d", x, weight.half())
    assert "on different devices" in ask("conv2d", x, weight.to("meta"))
    assert "do not agree" in ask("conv2d", x[:, :3], weight)
    for wrong in (x[0, 0], x[None], torch.tensor(1.0)):
        assert "an input of 3 or 4 dimensions and a weight of 4" in ask("conv2d", wrong, weight)
    assert "a weight of 4" in ask("conv2d", x, weight[0])


@settings(max_examples=150, deadline=None)
@given(
    op=st.sampled_from(OPS),
    extent=st.integers(1, 5),
    k=st.integers(1, 4),
    groups=st.integers(1, 3),
    c=st.sampled_from([(6, 6), (6, 4), (3, 6)]),
    batched=st.booleans(),
    has_bias=st.booleans(),
    stride=st.integers(1, 3) | st.tuples(st.integers(1, 3)),
    padding=st.integers(0, 3) | st.sampled_from(["same", "valid", "other"]),
    output_padding=st.integers(0, 2),
    dilation=st.integers(1, 3),
)
def test_agrees_with_torch(
    op, extent, k, groups, c, batched, has_bias, stride, padding, output_padding, dilation
):
    """A call becomes a problem exactly where torch accepts it, and the problem's output is torch's."""
    x, weight = tensors(op, c=c, extent=extent, k=k, groups=groups)
    bias = torch.zeros(c[1]) if has_bias else None
    x = x if batched else x[0]
    sizes = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
    if is_transposed(op):
        sizes["output_padding"] = output_padding
    call = ask(op, x, weight, bias, **sizes)
    try:
        expected = getattr(functional, op)(x, weight, bias, **sizes)
    except (RuntimeError, TypeError, ValueError):
        assert isinstance(call, str)
        return
    if min(expected.shape) == 0:
        assert isinstance(call, str)
        return
    assert isinstance(call, Call), call
    assert call.problem.output_shape[not batched :] == tuple(expected.shape)


def test_precision_follows_torchs_settings(monkeypatch):
    """float32 is TF32 where torch's cuDNN may use it, at the time of the call; 16-bit types are always ieee."""
    x, weight = tensors("conv2d")
    before = torch.backends.cudnn.allow_tf32
    try:
        for allowed in (True, False, True):
            torch.backends.cudnn.allow_tf32 = allowed
            assert allow_tf32() == allowed
            assert ask("conv2d", x, weight).problem.precision == ("tf32" if allowed else "ieee")
            assert ask("conv2d", x.half(), weight.half()).problem.precision == "ieee"
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.skipif(
    not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older of the two settings only"
)
def test_precision_follows_the_newer_setting():
    """The setting torch.backends.cudnn.conv.fp32_precision counts as torch itself counts it."""
    before = torch.backends.cudnn.conv.fp32_precision
    try:
        for setting, allowed in (("ieee", False), ("tf32", True)):
            torch.backends.cudnn.conv.fp32_precision = setting
            assert allow_tf32() == allowed
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_has_no_named_padding(padding):
    """Torch takes no named padding for transposed operations."""
    assert isinstance(
        normalised("conv_transpose1d", torch.zeros(1, 2, 5), torch.zeros(2, 3, 3), None, 1, padding, 0, 1, 1),
        str,
    )
