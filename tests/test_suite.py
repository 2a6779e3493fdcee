import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb.errors import SuiteError
from tunedb.problem import checked
from tunedb.suite import load_suite, problems, shipped_suites

GOOD = {
    "id": "a", "op": "conv2d", "n": 1, "c_in": 4, "spatial_in": [9, 9], "c_out": 8, "kernel": [3, 3], "stride": [1, 1],
    "padding": [0, 0], "output_padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": True, "model": "free text",
}  # fmt: skip


def lines_of(error):
    return [
        int(line.split(":")[0].removeprefix("  line "))
        for line in str(error).splitlines()
        if line.startswith("  line ")
    ]


@pytest.mark.parametrize(("name", "count"), [("kernelbench", 37), ("models", 166)])
def test_shipped_suites(name, count):
    """Each shipped suite is whole and every problem of it is one that torch accepts."""
    entries = load_suite(name)
    assert name in shipped_suites()
    assert len(entries) == count
    assert [entry.line for entry in entries] == list(range(2, count + 2))
    for problem in problems(entries, ["float32", "bfloat16"], ["channels_first", "channels_last"]):
        checked(problem)


def test_problems_of_an_entry():
    """Sizes go to the last axes, 16-bit types are always ieee, and one dimension has no channels_last."""
    entries = {entry.id: entry for entry in load_suite("kernelbench")}
    found = problems([entries["kb81"]], ["float32", "float16"], ["channels_first", "channels_last"], "tf32")
    assert [(problem.dtype, problem.precision, problem.layout) for problem in found] == [
        ("float32", "tf32", "channels_first"),
        ("float32", "tf32", "channels_last"),
        ("float16", "ieee", "channels_first"),
        ("float16", "ieee", "channels_last"),
    ]
    assert found[0].input_shape == (16, 32, 64, 128)
    assert found[0].weight_shape == (32, 64, 3, 3)
    assert (found[0].stride, found[0].padding, found[0].dilation) == ((1, 5, 5), (0, 1, 1), (1, 2, 2))
    assert problems([entries["kb79"]], ["float16"], ["channels_last"]) == []
    again = entries["kb81"]._replace(id="again")
    assert len(problems([entries["kb81"], again], ["float16"], ["channels_first"])) == 1


def test_every_error_has_its_line(tmp_path):
    """All errors of a file are named at once, each with its line, and a broken record does not hide the next."""
    text = [
        "[",
        json.dumps(GOOD) + ",",
        json.dumps({**GOOD, "id": "b", "stride": [4]}) + ",",
        json.dumps({**GOOD, "id": "c"})[:-20],
        json.dumps({**GOOD, "id": "d", "op": "conv9d", "groups": 0, "bias": 1}) + ",",
        '"text",',
        json.dumps({**GOOD, "id": "e", "kernel": [30, 30]}) + ",",
        '{"id": "f"},',
        json.dumps({**GOOD, "id": "g"}).replace('"n": 1', '"n": 1, "n": 2') + ",",
        json.dumps(GOOD),
        "] and more",
    ]
    path = tmp_path / "mine.json"
    path.write_text("\n".join(text))
    with pytest.raises(SuiteError, match="mend these lines") as raised:
        load_suite(path)
    assert lines_of(raised.value) == [3, 4, 5, 5, 5, 6, 7, 8, 9, 10, 11]
    for part in (
        str(path),
        "b: stride must be a list of 2 integers of at least 1, but got [4]",
        "d: op must be one of conv1d",
        "d: groups must be an integer of at least 1, but got 0",
        "d: bias must be true or false, but got 1",
        "a record must be a JSON object, but got 'text'",
        "e: the output must have at least 1 element in height",
        "f: a record must have op, c_in, spatial_in, c_out, kernel, but has only id",
        "a record must have each field once, but 'n' stands twice",
        "id must be unique, but 'a' stands in line 2 already",
        "nothing may follow the list",
    ):
        assert part in str(raised.value)


def test_many_errors_are_counted(tmp_path):
    """Twenty errors are named, the others counted."""
    path = tmp_path / "mine.json"
    path.write_text(
        "[\n" + ",\n".join(json.dumps({**GOOD, "id": str(number), "n": -1}) for number in range(50)) + "\n]"
    )
    with pytest.raises(SuiteError, match="and 30 more") as raised:
        load_suite(path)
    assert lines_of(raised.value) == list(range(2, 22))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a suite must begin with '\\['"),
        ("{}", "line 1: a suite must begin with '\\['"),
        ("[", "line 1: Expecting value"),
        ("[\n" + json.dumps(GOOD) + ",\n]", "line 3: Expecting value"),
        ("[\n" + json.dumps(GOOD) + "\n", "line 2: expecting ',' or '\\]'"),
        ("[" * 100_000, "line 1: "),
        ('[{"id": 1' + "0" * 5000 + "}]", "line 1: "),
        (b"[\xff\xfe]", "must be a readable UTF-8 file"),
    ],
)
def test_broken_files(tmp_path, text, message):
    """A file that is no JSON list is refused with the line where it breaks."""
    path = tmp_path / "mine.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SuiteError, match=message):
        load_suite(path)


def test_empty_and_indented(tmp_path):
    """An empty list is a suite, and how a record is laid out does not matter."""
    path = tmp_path / "mine.json"
    path.write_text("[ ]\n")
    assert load_suite(path) == []
    path.write_text(json.dumps([GOOD, {**GOOD, "id": "b"}], indent=4))
    assert [entry.id for entry in load_suite(str(path))] == ["a", "b"]


def test_unknown_suite():
    """An unknown suite is named with those that exist."""
    with pytest.raises(
        SuiteError, match="suite must be one of kernelbench, models or a JSON file, but got 'nothing'"
    ):
        load_suite("nothing")


@given(st.text(alphabet='[]{},:" \n1ae', max_size=60))
def test_any_text(tmp_path_factory, text):
    """Whatever a file holds, it is a suite or a SuiteError."""
    path = tmp_path_factory.mktemp("any") / "mine.json"
    path.write_text(text)
    try:
        assert load_suite(path) == []
    except SuiteError as error:
        assert lines_of(error)  # noqa: PT017 (both endings are right)


CAPTURED = {
    "dtype": "float16",
    "precision": "ieee",
    "layout": "channels_last",
    "calls": 3,
    "modules": ["a.b", "c"],
}


def test_captured_fields(tmp_path):
    """An entry of a captured suite stands for its own dtype and layout, unless others are asked for."""
    path = tmp_path / "captured.json"
    path.write_text(json.dumps([GOOD | CAPTURED]))
    (entry,) = load_suite(path)
    assert (entry.calls, entry.modules, entry.captured) == (3, ("a.b", "c"), True)
    assert problems([entry]) == [entry.problem("float16", "ieee", "channels_last")] == [entry.problem()]
    asked = problems([entry], ["float32"], ["channels_first"])
    assert asked == [entry.problem("float32", "tf32", "channels_first")]


def test_a_suite_without_captured_fields_is_all_variants(tmp_path):
    """An entry that names no dtype and layout stands for float32 and float16 in both layouts, called once."""
    path = tmp_path / "plain.json"
    path.write_text(json.dumps([GOOD]))
    (entry,) = load_suite(path)
    assert (entry.calls, entry.modules, entry.captured) == (1, (), False)
    assert len(problems([entry])) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"layout": None},
            "must have all of dtype, precision, layout or none, but has only dtype, precision",
        ),
        ({"dtype": "float64"}, "dtype must be one of float32, float16, bfloat16"),
        ({"dtype": 5}, "dtype must be text"),
        ({"precision": "tf32"}, "precision of float16 must be 'ieee'"),
        ({"calls": 0}, "calls must be an integer of 1 to"),
        ({"calls": True}, "calls must be an integer of 1 to"),
        ({"modules": "a"}, "modules must be a list of names"),
        ({"modules": [1]}, "modules must be a list of names"),
        ({"modules": ["\ud800"]}, "modules must be a list of names in printable text"),
        ({"modules": ["a", "\x1b[31m"]}, "modules must be a list of names in printable text"),
    ],
)
def test_wrong_captured_fields(tmp_path, change, said):
    """A mistake in a captured field is named with its line."""
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps([GOOD | CAPTURED | change]))
    with pytest.raises(SuiteError, match=f"line 1: .*{said}"):
        load_suite(path)
