import pytest

from tunedb.describe import describe, micros, table


def test_describe(problem):
    """A problem is a line in torch's shapes; usual values are left out."""
    assert describe(problem) == (
        "conv_transpose2d float32 tf32 channels_first x 16x32x64x128 w 32x64x3x3 stride 5x5 padding 1x1 dilation 2x2"
    )
    small = problem._replace(
        op="conv1d",
        dtype="float16",
        precision="ieee",
        in_h=1,
        k_h=1,
        stride_h=1,
        padding_h=0,
        dilation_h=1,
        groups=2,
        bias=1,
    )
    assert (
        describe(small)
        == "conv1d float16 channels_first x 16x32x128 w 64x16x3 stride 5 padding 1 dilation 2 groups 2 bias"
    )


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, "-"),
        (0.00132, "0.00132 us"),
        (3.456, "3.46 us"),
        (12.34, "12.3 us"),
        (12345.0, "12.35 ms"),
        (123456.78, "123.46 ms"),
    ],
)
def test_micros(us, text):
    """Times have three digits or a tenth, and the unit that is read at a glance; an unknown one is a dash."""
    assert micros(us) == text


def test_table():
    """Columns are as wide as their longest cell, numbers stand to the right, no line ends in blanks."""
    assert (
        table(("name", "n"), [("a", "1"), ("longer", "22"), ("b", "")])
        == "name     n\na        1\nlonger  22\nb"
    )
    assert table(("name", "n"), []) == "name  n"
