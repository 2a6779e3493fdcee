import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunedb.cli.shapes import entry_from_shapes
from tunedb.errors import ProblemError


def test_issue_example():
    """The command line of the README means the problem that torch would compute."""
    options = {"stride": "5", "padding": "1", "dilation": "2x2"}
    problem = entry_from_shapes("conv_transpose2d", "16x32x64x128", "32x64x3x3", options).problem()
    assert (problem.n, problem.c_in, problem.c_out, problem.groups, problem.bias) == (16, 32, 64, 1, 0)
    assert (problem.extents, problem.kernel, problem.stride) == ((1, 64, 128), (1, 3, 3), (1, 5, 5))
    assert (problem.padding, problem.output_padding, problem.dilation) == ((0, 1, 1), (0, 0, 0), (1, 2, 2))


@given(
    st.sampled_from(["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "conv3d"]),
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans(),
)  # fmt: skip
def test_shapes_are_those_of_torch(op, n, groups, stride, kernel, bias):
    """Input and weight shapes in torch's order give the output shape that torch gives."""
    axes = int(op[-2])
    x, w = torch.zeros(n, 2 * groups, *[5] * axes), torch.zeros(2 * groups, 2, *[kernel] * axes)
    b = torch.zeros(2 * groups) if bias else None
    out = getattr(torch.nn.functional, op)(x, w, b, stride=stride, groups=groups)

    def text(tensor):
        return "x".join(map(str, tensor.shape))

    problem = entry_from_shapes(
        op, text(x), text(w), {"stride": str(stride)}, groups=groups, bias=bias
    ).problem()
    assert (problem.input_shape, problem.weight_shape, problem.output_shape) == (x.shape, w.shape, out.shape)
    assert problem.bias == bias


def test_unbatched():
    """An input without a batch is a batch of one."""
    assert entry_from_shapes("conv1d", "4x9", "8x4x3", {}).n == 1


@pytest.mark.parametrize(
    ("op", "x", "w", "options", "message"),
    [
        ("conv9d", "1x1x1", "1x1x1", {}, "op must be one of conv1d"),
        ("conv2d", "1x4x9", "4x4x3", {}, "w of a conv2d must have 4 sizes, as in 8x8x8x8, but got 4x4x3"),
        ("conv2d", "4", "4x4x3x3", {}, "x of a conv2d must have 4 sizes"),
        (
            "conv2d",
            "1x4x9xnine",
            "4x4x3x3",
            {},
            "x must be sizes joined by x, as in 16x32x64x128, but got '1x4x9xnine'",
        ),
        ("conv2d", "1x4x9x-9", "4x4x3x3", {}, "x must be sizes joined by x"),
        ("conv2d", "1x4x9x9", "4x3x3x3", {}, "the second size of w times groups must be the channels of x"),
        ("conv_transpose2d", "1x4x9x9", "3x4x3x3", {}, "the first size of w must be the channels of x"),
        (
            "conv2d",
            "1x4x9x9",
            "4x4x3x3",
            {"stride": "2x2x2"},
            "stride must be 1 number or 2, as in 2x2, but got '2x2x2'",
        ),
        ("conv2d", "1x4x9x9", "4x4x3x3", {"stride": "0"}, "stride_h must be an integer of at least 1"),
        ("conv2d", "1x4x9x9", "4x4x3x3", {"output_padding": "1"}, "output_padding of a conv2d must be 0"),
        ("conv2d", "1x4x2x2", "4x4x3x3", {}, "the output must have at least 1 element in height"),
    ],
)
def test_contradictions(op, x, w, options, message):
    """Shapes that are malformed or contradict each other are refused with the rule and the value."""
    with pytest.raises(ProblemError, match=message):
        entry_from_shapes(op, x, w, options)


def test_groups_of_none():
    """Zero groups are refused before anything is divided by them."""
    with pytest.raises(ProblemError, match="groups must be at least 1, but got 0"):
        entry_from_shapes("conv2d", "1x4x9x9", "4x4x3x3", {}, groups=0)
