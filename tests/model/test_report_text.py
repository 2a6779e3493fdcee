"""A report in the terminal and as JSON."""

import json
import re
from pathlib import Path

import pytest

from tunedb.model.database_report import Group, database_report
from tunedb.model.report import Totals, report
from tunedb.model.report_json import as_json
from tunedb.model.report_table import report_text

PAGE = Path(__file__).parents[2] / "docs/report.md"


def test_the_table(mixed, h200):
    """It has the sums in words and a line a layer, the one that takes most of a pass first."""
    text = report_text(report(mixed, h200, title="model.json", date="2026-11-26"))
    lines = text.splitlines()
    assert lines[0] == "model.json on h200 (NVIDIA H200, which is not in this machine), 2026-11-26"
    assert "2 answered by tunedb, 1 best left to torch, 3 unswept" in text
    assert "Counted are the 3 of 6 layers whose torch time is known" in text
    assert re.search(r"may be worth [\d.]+ ms of about [\d.]+ ms a pass: an estimate", text)
    assert "Unknown: what 1 unswept layer may be worth" in text
    line = next(line for line in lines if line.startswith("decoder.up.0"))
    assert re.split(r"  +", line)[2:] == [
        "3", "197.2 us", "2.00 ms", "1.00 ms", "3.00 ms", "answered", "exact", "fake", "measured",
    ]  # fmt: skip
    assert "borrowed: measured on h200" in text
    heads = next(place for place, one in enumerate(lines) if one.startswith("layer "))
    names = [line.split()[0] for line in lines[heads + 1 :][: len(mixed)]]
    assert (names[0], names[-1]) == ('"><img', "encoder." + "block." * 12 + "conv")


@pytest.mark.parametrize("width", [300, 100, 80, 50, 30])
def test_a_table_fits_the_terminal(mixed, h200, shelf, width):
    """No line but a path is wider than the terminal; name and saving of a layer stay, and what is left out is named."""
    for found in (report(mixed, h200), database_report([shelf.user])):
        lines = [line for line in report_text(found, width).splitlines() if str(shelf.user) not in line]
        assert max(map(len, lines)) <= width
    text = report_text(report(mixed, h200), width)
    head = next(line for line in text.splitlines() if line.startswith("layer "))
    assert "saved" in head
    assert ("kernel" in head) == (width == 300)
    assert ("Left out in this width" in " ".join(text.split())) == (width < 300)


def test_databases_as_text(shelf, fake_kernel, timed):
    """It has the files, the sums, a line a group, and the best."""
    path = shelf.put(timed)
    text = report_text(database_report([path], title="mine", date="2026-11-26"))
    assert text.startswith(f"mine, 1 file, 2026-11-26\n  {path}\n")
    assert "1 record, 1 of them compared with torch: 2.00 times as fast as torch" in text
    assert re.search(
        r"h200 +conv_transpose2d +float32 +tf32 +channels_first +measured +1 +2.00 +40% +0 +0", text
    )
    assert "The best 1 by speed-up over torch:" in text
    assert "The worst" not in text


def test_empty_reports_as_text(shelf, h200):
    """Nothing to say is said."""
    assert "No layers: the suite is empty" in report_text(report([], h200), 80)
    assert "0 records" in report_text(database_report([]), 80)


def names_of(value, found):
    """The names of objects inside JSON data."""
    if isinstance(value, dict):
        for name, inner in value.items():
            found.add(name)
            if name not in {"problem", "rests_on"}:  # whose names are described elsewhere
                names_of(inner, found)
    if isinstance(value, list):
        for inner in value:
            names_of(inner, found)
    return found


def test_json(mixed, h200):
    """Numbers in us, null for what is not known, and the sums are those of the layers."""
    data = json.loads(json.dumps(as_json(report(mixed, h200, title="m", date="2026-11-26"))))
    assert (data["schema"], data["kind"], data["device"], data["device_here"]) == (1, "suite", "h200", False)
    first = data["layers"][0]
    assert first["modules"] == ["decoder.up.0"]
    assert (first["torch_us"], first["torch_pass_us"], first["saved_pass_us"]) == (2000.0, 6000.0, 3000.0)
    assert data["layers"][1]["torch_us"] is None
    saved = sum(layer["saved_pass_us"] or 0.0 for layer in data["layers"])
    assert data["totals"]["saved_us"] == pytest.approx(saved)


def test_json_of_databases(shelf, fake_kernel, timed):
    """Groups and records with their numbers; paths are text."""
    path = shelf.put(timed)
    data = json.loads(json.dumps(as_json(database_report([path], date="2026-11-26"))))
    assert (data["kind"], data["files"]) == ("databases", [str(path)])
    assert data["groups"][0]["speedup"] == pytest.approx(2.0)
    assert data["best"][0]["aten_us"] == 2000.0


def test_every_name_is_documented(mixed, h200, shelf):
    """docs/report.md describes each name of the JSON and no name that is gone."""
    told = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    found = names_of(as_json(report(mixed, h200)), set()) | names_of(as_json(database_report([shelf.user])), set())  # fmt: skip
    assert told == found
    assert set(Totals._fields) | set(Group._fields) <= told
