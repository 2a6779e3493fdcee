"""What a suite's record may leave out, and what it may not hold."""

import json

import pytest

from tunedb.errors import SuiteError
from tunedb.suite import load_suite

LEAST = {"id": "a", "op": "conv2d", "c_in": 4, "spatial_in": [9, 10], "c_out": 8, "kernel": [3, 3]}


@pytest.fixture
def load(tmp_path):
    """Load a suite of the given records."""

    def load(*records):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(records))
        return load_suite(path)

    return load


@pytest.fixture
def refusal(load):
    """Say why a suite of one record is refused."""

    def refusal(record):
        with pytest.raises(SuiteError) as raised:
            load(record)
        text = str(raised.value)
        assert all(line.isprintable() and len(line) < 600 for line in text.splitlines())
        return text

    return refusal


def test_what_is_left_out_is_as_in_torchs_layers(load):
    """A record without them has n 1, stride 1, padding 0, output_padding 0, dilation 1, groups 1 and a bias, as torch.nn.Conv2d."""
    (entry,) = load(LEAST)
    problem = entry.problem()
    assert (problem.n, problem.groups, problem.bias) == (1, 1, 1)
    assert (problem.stride, problem.dilation) == ((1, 1, 1), (1, 1, 1))
    assert (problem.padding, problem.output_padding) == ((0, 0, 0), (0, 0, 0))
    assert (entry.calls, entry.modules, entry.captured) == (1, (), False)


@pytest.mark.parametrize("op", ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose3d"])
def test_an_integer_stands_for_every_axis(load, op):
    """A size that is one number is that of every axis, as torch takes it; the entry is the same as with lists."""
    axes = int(op[-2])
    sizes = {"spatial_in": 9, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 0, "dilation": 2}
    short = {"id": "a", "op": op, "c_in": 4, "c_out": 8, **sizes}
    assert load(short) == load({**short, **{name: [size] * axes for name, size in sizes.items()}})


@pytest.mark.parametrize(
    ("field", "near"),
    [
        ("dilations", "dilation"), ("strides", "stride"), ("Padding", "padding"), ("outpt_padding", "output_padding"), ("group", "groups"),
        ("kernel_size", "kernel"), ("in_channels", "c_in"), ("out_channels", "c_out"), ("batch_size", "n"), ("dtpe", "dtype"),
        ("spatial", "spatial_in"), ("notes", "note"),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_named_with_the_one_that_was_meant(refusal, field, near):
    """A field that is none is refused, since its default would be tuned instead; the nearest known name is given."""
    assert f"line 1: a: a record must have known fields only, but has '{field}': did you mean {near}?" in (
        refusal({**LEAST, field: 2})
    )


@pytest.mark.parametrize("field", ["xyzzy", "line", "?" * 30, "\u00e4\u00f6"])
def test_a_field_like_no_other_is_refused_with_all_that_there_are(refusal, field):
    """A field that resembles none is refused too, and the known ones are listed."""
    text = refusal({**LEAST, field: 1})
    assert f"has '{field}'" in text
    assert field == "line" or "the fields are id, op, c_in" in text


def test_notes_may_be_anything(load):
    """A model, a layer and a note are for people: any JSON is taken."""
    assert len(load({**LEAST, "model": ["U-Net", 3], "layer": {"up": None}, "note": 1.5})) == 1


def test_many_unknown_fields_are_counted(refusal):
    """Three unknown fields of a record are named, the others counted, and what is missing is said too."""
    text = refusal({"id": "a", **{f"field{number}": 1 for number in range(50)}})
    assert "field2" in text
    assert "field3" not in text
    assert "and 47 more fields that are none" in text
    assert "a record must have op, c_in, spatial_in, c_out, kernel, but has only id" in text


@pytest.mark.parametrize(
    "change",
    [
        {"id": "\x1b[31m"}, {"id": "a" * 10**6}, {"\x1b]0;x\x07": 1}, {"\u202e" * 9: 1}, {"\ud800": 1}, {"x" * 10**6: 1}, {"op": "\x1b" * 10**5},
        {"op": ["conv2d"]}, {"op": {}}, {"n": "9" * 10**6}, {"n": [[0] * 10**5]}, {"bias": {"x" * 10**5: 1}}, {"kernel": [3] * 10**5},
        {"kernel": 0}, {"kernel": True}, {"kernel": None}, {"kernel": []}, {"kernel": [3, 3.0]}, {"kernel": [3, [3]]}, {"kernel": {}},
        {"modules": ["\n" * 10**5]}, {"calls": 10**50}, {"dtype": "\x00" * 10**5, "precision": "", "layout": ""}, {"layout": "x", "dtype": [], "precision": 0},
        {"n": 1e400}, {"n": 1.0}, {"n": False},
    ],
)  # fmt: skip
def test_whatever_a_field_holds_its_message_is_short_and_printable(refusal, change):
    """No value or name of a record makes a message long or reaches the terminal unprintable."""
    assert "line 1: " in refusal({**LEAST, **change})


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63, 10**19, 10**90])
@pytest.mark.parametrize("field", ["n", "c_in", "c_out", "groups", "spatial_in", "kernel", "stride", "padding", "dilation"])  # fmt: skip
def test_a_size_that_no_kernel_counts_to_is_refused(refusal, field, size):
    """Every size has an upper bound, so that nothing behind the suite meets a number that it cannot hold."""
    assert "must be at most 2147483647" in refusal({**LEAST, field: size})
