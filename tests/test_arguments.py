"""One table states the arguments of the six operations; torch, tunedb and what is typed agree with it."""

import inspect

import pytest
import torch

import tunedb
from tunedb.arguments import AXIS_SIZES, DEFAULTS, bound, names
from tunedb.problem import OPS


@pytest.mark.parametrize("op", OPS)
def test_the_operations_have_the_arguments_of_the_table(op):
    """Each function takes input and weight, then the table's arguments in its order and with its defaults."""
    _, _, *rest = inspect.signature(getattr(tunedb, op)).parameters.values()
    assert {one.name: one.default for one in rest} == {name: DEFAULTS[name] for name in names(op)}
    assert tuple(one.name for one in rest) == names(op)


@pytest.mark.parametrize("op", OPS)
def test_torch_takes_them_in_this_order(op):
    """Torch's own documentation of the function names the same arguments in the same order."""
    line = getattr(torch.nn.functional, op).__doc__.strip().splitlines()[0]
    inside = line[line.index("(") + 1 : line.index(")")]
    assert [part.split("=")[0].strip() for part in inside.split(",")] == ["input", "weight", *names(op)]


def test_every_size_has_a_default():
    """The sizes of an axis are arguments of some operation, and each argument has a default."""
    assert AXIS_SIZES.keys() < DEFAULTS.keys()
    assert {name for op in OPS for name in names(op)} == DEFAULTS.keys()


def test_bound():
    """Arguments by position and by name come out by name, the others with their defaults."""
    assert bound("conv1d", (None, 2), {"groups": 3}) == {**DEFAULTS, "stride": 2, "groups": 3}
    assert bound("conv_transpose1d", (None, 2, 1, 1), {}) == {
        **DEFAULTS,
        "stride": 2,
        "padding": 1,
        "output_padding": 1,
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((None, 2), {"stride": 2}, "given once, but got stride"),
        (
            (None, 1, 0, 1, 1, 7),
            {},
            "takes bias, stride, padding, dilation, groups after input and weight, but got 6",
        ),
        ((), {"out": 1}, "but got 0 arguments and out"),
    ],
)
def test_wrong_arguments(args, kwargs, message):
    """An argument that is given twice, or that the operation does not take, is refused with those that it takes."""
    with pytest.raises(TypeError, match=message):
        bound("conv1d", args, kwargs)
