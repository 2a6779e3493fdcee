"""Whatever file is given for a suite, it is read in bounded time or refused in one message."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from tunedb.errors import SuiteError
from tunedb.suite import MOST_ERRORS, load_suite
from tunedb.suites.file_text import MOST_BYTES

LAYER = {"id": "a", "op": "conv1d", "c_in": 4, "spatial_in": [9], "c_out": 8, "kernel": [3]}
MANY = 20_000


def refusal(path):
    """Why a suite is refused."""
    with pytest.raises(SuiteError) as raised:
        load_suite(path)
    text = str(raised.value)
    assert all(line.isprintable() and len(line) < 900 for line in text.splitlines())
    return text


def seconds(path):
    """Processor seconds that reading a suite takes, whatever comes of it."""
    start = time.process_time()
    with contextlib.suppress(SuiteError):
        load_suite(path)
    return time.process_time() - start


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**LAYER, "id": "%d"}), json.dumps({**LAYER, "id": "%d", "n": -1}), json.dumps({**LAYER, "id": "same"}),
        '{"id": "%d"', "{}", "[]", "{", "", '{"', json.dumps({**LAYER, "id": "%d", "more": 1}), '{"id": 1' + "0" * 200,
    ],
)  # fmt: skip
def test_the_time_is_linear_in_the_entries(tmp_path, line):
    """20,000 entries, sound or not, take a second or two; they took 26 to 38."""
    path = tmp_path / "many.json"
    path.write_text("[\n" + ",\n".join(line.replace("%d", str(number)) for number in range(MANY)) + "\n]")
    assert seconds(path) < 8  # of a loaded machine


@pytest.mark.parametrize(
    "text",
    [
        "[" + "\n" * 2**20, "[x" + " \n" * 2**20 + "{", "[" + " " * 2**20 + "x", '[{"id": ' + "9" * 2**20 + "}]", "[" * 2**20, '[{"a":' * 2**18,
        "[{" + ",".join(f'"{number}": 1' for number in range(10**5)) + "}]", "[{" + '"a": 1,' * 10**5 + '"a": 1}]',
        "[{" + ",".join(f'"{number}": 1' for number in range(10**5)) + ', "7": 1}]', '[{"' + "dilation" * 2**17 + '": 1}]',
    ],
    ids=range(10),
)  # fmt: skip
def test_no_text_takes_long(tmp_path, text):
    """A megabyte of blank lines, digits, brackets or fields is refused at once: nothing takes quadratic time."""
    path = tmp_path / "one.json"
    path.write_text(text)
    assert seconds(path) < 8
    assert "line 1: " in refusal(path) or "line 2: " in refusal(path)


def test_errors_are_looked_for_up_to_a_number(tmp_path):
    """After a thousand errors reading stops, and the message says that there are at least so many."""
    path = tmp_path / "many.json"
    path.write_text("[" + "{}," * 5000 + "{}]")
    assert f"and at least {MOST_ERRORS - 20} more" in refusal(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1" + "0" * 5000, "a number must have at most 100 digits, but got '1000"),
        ("NaN", "a number must be finite, but got NaN, which is no JSON"),
        ("-Infinity", "a number must be finite, but got -Infinity"),
        ("1e400", "n must be an integer of at least 0, but got inf"),
        ("1" + "0" * 99, "n must be at most 2147483647"),
        ("[" * 100_000, "lists or objects lie inside one another too deep"),
        ('{"a": 1, "a": 2}', "a record must have each field once, but 'a' stands twice"),
        ('"\\ud800"', "n must be an integer of at least 0, but got '\\ud800'"),
        ("01", "Expecting ',' delimiter"),
        ("'1'", "Expecting value"),
    ],
)
def test_odd_values(tmp_path, value, said):
    """Numbers that Python or JSON does not know and values inside one another are refused with their line."""
    path = tmp_path / "odd.json"
    path.write_text("[\n" + json.dumps(LAYER)[:-1] + f', "n": {value}}}\n]')
    text = refusal(path)
    assert "line 2: " in text
    assert said in text


def test_other_encodings(tmp_path):
    """A file that is not plain UTF-8 is refused with how to save it, and with the line of the first wrong byte."""
    path = tmp_path / "other.json"
    text = json.dumps([{**LAYER, "id": "größe"}], ensure_ascii=False)
    for encoding, said in (
        ("utf-8-sig", "begins with that of UTF-8: save it as plain UTF-8"),
        ("utf-16", "begins with that of UTF-16: save it as plain UTF-8"),
        ("latin-1", "line 2 of"),
        ("utf-16-le", "line 1 of"),
    ):
        path.write_bytes(("\n" + text if encoding == "latin-1" else text).encode(encoding))
        assert said in refusal(path)


def test_files_that_are_none(tmp_path, monkeypatch):
    """A folder, a missing file, an empty one, a pipe, a device, one that may not be read and a name that can be none are each named."""
    (tmp_path / "empty.json").write_text("")
    assert "a suite must begin with '[', but the file is empty" in refusal(tmp_path / "empty.json")
    assert "is a folder" in refusal(tmp_path)
    assert "suite must be one of kernelbench, models or a JSON file, but got" in refusal(
        tmp_path / "none.json"
    )
    assert "or a JSON file, but got" in refusal(tmp_path / "empty.json" / "x")
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or device" in refusal(tmp_path / "pipe")
    assert "is a pipe or device" in refusal("/dev/zero")
    for name in ("", "a\0b", "\ud800", "\x1b[31m"):
        assert "or a JSON file, but " in refusal(name)
    assert "reading aaaa" in refusal("a" * 5000)
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    assert "Too many levels of symbolic links" in refusal(loop)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "gives: Permission denied" in refusal(tmp_path / "empty.json")


def test_a_file_has_a_limit(tmp_path):
    """A file above 16 MiB is refused without being read; one of just that size is read."""
    path = tmp_path / "large.json"
    path.write_text("[]")
    os.truncate(path, 1 << 40)  # it takes no room on the disk
    assert "a suite must have at most 16 MiB" in refusal(path)
    path.write_text("[" + " " * (MOST_BYTES - 2) + "]")
    assert load_suite(path) == []
