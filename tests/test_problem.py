import pickle

import pytest
import torch
from awkward import AWKWARD, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tunedb.errors import ProblemError
from tunedb.problem import DTYPES, ITEM_BYTES, LAYOUTS, OPS, Problem, checked, is_transposed, rank

FORWARD = problem("conv2d", n=2, c=(6, 8), extents=(9, 10), k=3, s=2, p=1, d=1, groups=2, bias=1)
TRANSPOSED = problem("conv_transpose2d", n=2, c=(6, 8), extents=(5, 4), k=3, s=3, p=1, op_=2, groups=2)


def run(asked):
    """The output shape that torch gives a problem."""
    x, weight = torch.zeros(asked.input_shape), torch.zeros(asked.weight_shape)
    lead = 3 - asked.rank
    sizes = {name: getattr(asked, name)[lead:] for name in ("stride", "padding", "dilation")}
    if asked.transposed:
        sizes["output_padding"] = asked.output_padding[lead:]
    return tuple(getattr(functional, asked.op)(x, weight, groups=asked.groups, **sizes).shape)


@pytest.mark.parametrize("reason", AWKWARD)
def test_shapes_are_torchs(reason):
    """Input, weight and output shapes are those that torch takes and gives."""
    assert run(AWKWARD[reason]) == AWKWARD[reason].output_shape


@settings(max_examples=200, deadline=None)
@given(
    op=st.sampled_from(OPS),
    length=st.integers(1, 5),
    k=st.integers(1, 5),
    s=st.integers(1, 4),
    p=st.integers(0, 6),
    out=st.integers(0, 5),
    d=st.integers(1, 4),
)
def test_accepts_what_torch_accepts(op, length, k, s, p, out, d):
    """A problem is accepted exactly where torch accepts its arguments and gives an output that is not empty."""
    try:
        asked = problem(op, extents=length, k=k, s=s, p=p, op_=out, d=d)
    except ProblemError:
        asked = None
    lead, axes = 3 - rank(op), rank(op)
    fields = (
        (1,) * lead + (length,) * axes,
        (k,) * axes,
        (s,) * axes,
        (p,) * axes,
        (out,) * axes,
        (d,) * axes,
    )
    if not is_transposed(op) and out:
        assert asked is None
        return
    ones, zeros = (1,) * lead, (0,) * lead
    unchecked = Problem(
        op, "float32", "ieee", "channels_first", 1, 3, 5, 1, 0, *fields[0], *ones, *fields[1],
        *ones, *fields[2], *zeros, *fields[3], *zeros, *fields[4], *ones, *fields[5],
    )  # fmt: skip
    try:
        shape = run(unchecked)
    except RuntimeError:
        assert asked is None
    else:
        assert (asked is not None) == (min(shape) > 0)
        assert unchecked.output_shape == shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "conv4d"}, "op must be one of conv1d, conv2d, .* but got 'conv4d'"),
        ({"dtype": "float64"}, "dtype must be one of float32, float16, bfloat16, but got 'float64'"),
        ({"precision": "tf32x3"}, "precision must be one of tf32, ieee, but got 'tf32x3'"),
        ({"layout": "NHWC"}, "layout must be one of channels_first, channels_last, but got 'NHWC'"),
        ({"dtype": "float16"}, "precision of float16 must be 'ieee', but got 'tf32': only float32 has a choice"),
        ({"n": -1}, "n must be an integer of at least 0, but got -1"),
        ({"in_w": 0}, "in_w must be an integer of at least 1, but got 0"),
        ({"k_h": 2.0}, "k_h must be an integer of at least 1, but got 2.0"),
        ({"k_h": True}, "k_h must be an integer of at least 1, but got True"),
        ({"stride_w": "2"}, "stride_w must be an integer of at least 1, but got '2'"),
        ({"padding_h": -1}, "padding_h must be an integer of at least 0, but got -1"),
        ({"bias": 2}, "bias must be 0 or 1, but got 2"),
        ({"groups": 4}, "c_in must be divisible by groups, but got c_in=6, groups=4"),
        ({"c_out": 7}, "c_out must be divisible by groups, but got c_out=7, groups=2"),
        ({"in_d": 2}, "depth of a conv2d must be size 1, kernel 1, stride 1, padding 0, .* but got"),
        ({"padding_d": 1}, "depth of a conv2d must be size 1"),
        ({"output_padding_w": 1}, "output_padding of a conv2d must be 0, but got"),
        ({"k_w": 13}, "the output must have at least 1 element in width, but it would have 0: enlarge"),
    ],
)  # fmt: skip
def test_refusals(change, message):
    """A value that cannot be is refused by its name, with what is allowed."""
    with pytest.raises(ProblemError, match=message):
        checked(FORWARD._replace(**change))


def test_output_padding_is_bounded():
    """Output padding must be smaller than stride or dilation, whichever is larger."""
    with pytest.raises(ProblemError, match=r"smaller than stride or dilation \(3\) in height, but got 3"):
        checked(TRANSPOSED._replace(output_padding_h=3))
    assert checked(TRANSPOSED._replace(output_padding_h=3, dilation_h=4))


def test_sound_problems_pass_unchanged():
    """A problem that torch accepts is returned as it is, empty batches and every name included."""
    for dtype in DTYPES:
        for layout in LAYOUTS:
            for n in (0, 1, 10**9):
                asked = FORWARD._replace(dtype=dtype, precision="ieee", layout=layout, n=n)
                assert checked(asked) is asked


def test_views_of_the_fields():
    """Depth, height and width come in that order, and the shapes drop what the operation lacks."""
    assert (FORWARD.extents, FORWARD.kernel, FORWARD.stride) == ((1, 9, 10), (1, 3, 3), (1, 2, 2))
    assert (FORWARD.padding, FORWARD.dilation) == ((0, 1, 1), (1, 1, 1))
    assert TRANSPOSED.output_padding == (0, 2, 2)
    assert FORWARD.out_extents == (1, 5, 5)
    assert TRANSPOSED.out_extents == (1, 15, 12)
    assert (FORWARD.weight_shape, TRANSPOSED.weight_shape) == ((8, 3, 3, 3), (6, 4, 3, 3))
    assert (FORWARD.transposed, TRANSPOSED.transposed) == (False, True)
    assert [rank(op) for op in OPS] == [1, 2, 3, 1, 2, 3]


def test_flops():
    """Two operations for each weight that meets an input: by outputs forward, by inputs transposed."""
    assert FORWARD.flops == 2 * 2 * (5 * 5) * 8 * 3 * 9
    assert TRANSPOSED.flops == 2 * 2 * (5 * 4) * 6 * 4 * 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes(dtype):
    """Input, weight, bias and output count once each, in the size of the dtype."""
    asked = FORWARD._replace(dtype=dtype, precision="ieee")
    elements = 2 * 6 * 90 + 8 * 3 * 9 + 8 + 2 * 8 * 25
    assert asked.bytes == elements * ITEM_BYTES[dtype]
    assert ITEM_BYTES[dtype] == getattr(torch, dtype).itemsize
    assert asked._replace(bias=0).bytes == (elements - 8) * ITEM_BYTES[dtype]


def test_is_a_key():
    """Equal problems are one key, any different field is another, and a pickle is the same problem."""
    assert {FORWARD: 1}[Problem(*FORWARD)] == 1
    assert len({FORWARD, *(FORWARD._replace(**{field: 99}) for field in Problem._fields)}) == 28
    assert pickle.loads(pickle.dumps(FORWARD)) == FORWARD
    assert Problem._fields[0] == "op"
