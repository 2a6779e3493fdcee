"""Every number of a problem fits kernels, SQLite and torch."""

import pytest
import torch
from awkward import problem
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tunedb.errors import ProblemError
from tunedb.problem import MOST_ELEMENTS, MOST_ON_AN_AXIS, OPS, Problem, checked, is_transposed, rank

SMALL = problem("conv2d", n=2, c=(6, 8), extents=(9, 10), k=3, groups=2)
LARGE = (
    st.integers(1, 9)
    | st.integers(1, 2**33)
    | st.sampled_from([2**31 - 1, 2**31, 2**62, 2**63, 10**19, 10**400])
)
MOST_INT64 = 2**63 - 1


@st.composite
def problems(draw):
    """Draw a problem whose sizes may be of any length."""
    op = draw(st.sampled_from(OPS))
    axes = rank(op)

    def sizes(absent, values):
        return (absent,) * (3 - axes) + tuple(draw(values) for _ in range(axes))

    groups = draw(st.integers(1, 3))
    zero = st.just(0)
    return Problem(
        op, "float32", "ieee", "channels_first", draw(LARGE), groups * draw(LARGE), groups * draw(LARGE), groups, 0,
        *sizes(1, LARGE), *sizes(1, LARGE), *sizes(1, LARGE), *sizes(0, LARGE | zero), *sizes(0, zero), *sizes(1, LARGE),
    )  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(problems())
def test_what_is_accepted_fits(asked):
    """Torch makes tensors of an accepted problem (on the meta device), in float64 too, and every number of it fits 64 bits."""
    try:
        checked(asked)
    except ProblemError as error:
        assert len(str(error)) < 400  # noqa: PT017 (both endings are right)
        return
    lead = slice(3 - asked.rank, None)
    with torch.device("meta"):
        x, weight = (
            torch.empty(shape, dtype=torch.float64) for shape in (asked.input_shape, asked.weight_shape)
        )
        torch.empty(asked.output_shape, dtype=torch.float64)
    assert max(x.nbytes, weight.nbytes, asked.outputs * 8) <= MOST_INT64
    assert max(asked[4:]) <= MOST_ON_AN_AXIS
    assert asked.bytes <= MOST_INT64
    assert float(asked.flops) < 1e40
    padded = asked.out_extents if asked.transposed else asked.extents
    for axis in range(3):
        assert padded[axis] + 2 * asked.padding[axis] <= MOST_ON_AN_AXIS
        assert asked.dilation[axis] * (asked.kernel[axis] - 1) + 1 <= MOST_ON_AN_AXIS
    assume(max(asked[4:]) < 2**20)  # torch's own shape function overflows above
    sizes = {name: getattr(asked, name)[lead] for name in ("stride", "padding", "dilation")}
    out = getattr(functional, asked.op)(x, weight, groups=asked.groups, **sizes)
    assert tuple(out.shape) == asked.output_shape


@pytest.mark.parametrize("field", Problem._fields[4:])
@pytest.mark.parametrize(
    "value", [2**31, 2**63, 10**19, 10**5000, -1, -(10**5000), 1e400, float("nan"), None, "1" * 10**6], ids=range(10)
)  # fmt: skip
def test_every_size_has_both_bounds(field, value):
    """No field takes a number outside of its bounds, and the message that says so is short."""
    with pytest.raises(ProblemError, match="must be") as raised:
        checked(SMALL._replace(**{field: value}))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": 2**31 - 1, "in_h": 2**31 - 1}, r"input must have at most 2\*\*60 - 1 elements"),
        ({"k_h": 2**30, "k_w": 2**30, "in_h": 2**30, "in_w": 2**30, "n": 0}, "weight must have at most"),
        ({"padding_h": 2**29, "padding_w": 2**29}, "output must have at most"),
        ({"padding_h": 2**30}, "height with padding must have at most 2147483647 positions"),
        ({"in_w": 2**31 - 1, "padding_w": 1}, "width with padding must have at most 2147483647 positions"),
    ],
)
def test_products_and_axes_are_bounded(change, said):
    """Elements of each tensor and positions on each axis are bounded too, not only the sizes that they are made of."""
    with pytest.raises(ProblemError, match=said):
        checked(SMALL._replace(**change))


def test_a_transposed_output_is_bounded():
    """An input that stride makes too long is refused, although every size of it is small enough."""
    asked = problem("conv_transpose1d", n=1, c=(1, 1), extents=10, k=3)
    with pytest.raises(ProblemError, match="width with padding must have at most 2147483647 positions"):
        checked(asked._replace(stride_w=2**30))
    assert checked(asked._replace(stride_w=2**27))


def test_the_largest_problem_is_accepted():
    """The bounds themselves belong to what is allowed."""
    asked = problem("conv1d", n=1, c=(1, 1), extents=10, k=1)
    assert checked(asked._replace(in_w=MOST_ON_AN_AXIS)).outputs == MOST_ON_AN_AXIS
    full = checked(asked._replace(n=2**30 - 1, in_w=2**30 + 1))
    assert full.inputs == full.outputs == MOST_ELEMENTS
    assert is_transposed("conv_transpose1d")
