"""The script that holds a database against torch: what it checks, and what it says."""

import json
import time
from pathlib import Path

import pytest
from awkward import problem

from tunedb.device import by_slug
from tunedb.kernel import source_hash
from tunedb.measure.timing import WallClock

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_dispatch.py"
SMALL = problem("conv_transpose2d", n=2, c=(4, 6), extents=(5, 7), k=3, s=2, p=1, op_=(1, 0), bias=1, precision="ieee")  # fmt: skip


@pytest.fixture
def script(scripts):
    return scripts("check_dispatch")


@pytest.fixture
def pages(scripts):
    return scripts("bench.dispatch_page")


@pytest.fixture
def small(record):
    return record._replace(problem=SMALL, kernel="aten", config="{}", kernel_hash=source_hash("aten"))


@pytest.fixture
def row(script):
    return script.Row(
        "kb81",
        "conv_transpose2d",
        "float32",
        "channels_first",
        "direct",
        "exact",
        50.0,
        100.0,
        40.0,
        3e-4,
        3e-4,
        "",
    )


@pytest.fixture
def clock(script, monkeypatch):
    monkeypatch.setattr(script, "SLOWER", 1e9)  # a busy CPU's times mean nothing
    return WallClock(by_slug("h200"))


def test_an_exact_answer_is_no_failure(script, shelf, small, clock):
    """A problem with a fresh record is answered from it, within the contract."""
    shelf.put(small)
    checked = script.check(small, "small", clock)
    assert (checked.failure, checked.tier, checked.kernel) == ("", "exact", "aten")
    assert checked.tunedb_us > 0
    assert checked.aten_us > 0
    assert 0 < checked.error < 1e-6


def test_another_tier_is_a_failure(script, shelf, small, clock):
    """A record that the dispatcher does not find is told by the tier that answered instead."""
    shelf.put(small._replace(problem=SMALL._replace(c_in=64)))
    assert "tier must be exact" in script.check(small, "small", clock).failure


def test_another_kernel_is_a_failure(script, shelf, small, clock):
    """An exact answer by another kernel than the record's is told."""
    shelf.put(small)
    assert (
        "implicit_gemm must answer"
        in script.check(small._replace(kernel="implicit_gemm"), "small", clock).failure
    )


def test_a_slower_answer_is_a_failure(script, shelf, small, clock, monkeypatch):
    """An answer that takes more of the GPU's time than torch's, beyond 3 %, is told with its ratio."""
    shelf.put(small)
    assert script.SLOWER == 1e9
    monkeypatch.setattr(script, "SLOWER", 1e-9)
    assert "times torch's time" in script.check(small, "small", clock).failure


def test_any_tier_may_answer_what_has_no_record(script, shelf, small, clock):
    """A problem without a record is held against float64 and torch's time, whatever answers it."""
    other = script.Unrecorded(small.problem, small.device, floor_us=1.0)
    row = script.check(other, "other", clock)
    assert (row.tier, row.kernel, row.failure) == ("aten", "aten", "")
    shelf.put(small)
    assert script.check(other, "other", clock).tier == "exact"


def test_a_suite_is_checked_where_it_has_no_record(script, record, tmp_path):
    """--suite takes a suite's problems in every dtype and layout that no record of the device is for."""
    from tunedb.store.write import Store
    from tunedb.suite import load_suite

    entry = load_suite("kernelbench")[0]
    known = record._replace(problem=entry.problem("float32", "tf32", "channels_first"), device="h200")
    with Store(tmp_path / "some.sqlite") as store:
        store.put(known, [])
    found = script.candidates(tmp_path / "some.sqlite", "h200", "kernelbench")
    problems = {one.problem for one in found}
    assert known.problem not in problems
    assert known.problem._replace(dtype="float16", precision="ieee") in problems
    assert len(problems) == len(found) == 136 - 1
    assert {one.kernel for one in found} == {""}
    assert all(one.floor_us > 0 for one in found)


def test_suite_problems_go_by_their_ids(script, record):
    """A problem of a shipped suite is named by its id whatever its type; another by its sizes."""
    from tunedb.suite import load_suite

    known = load_suite("kernelbench")[0]
    named = record._replace(problem=known.problem()._replace(dtype="float16", precision="ieee"))
    other = record._replace(problem=record.problem._replace(n=17))
    first, second = script.titles([named, other])
    assert first == known.id
    assert second.startswith("conv_transpose2d")
    assert "17x32x64x128" in second


def test_the_table_has_a_line_a_problem(pages, row):
    """The table is Markdown with a line for each problem; unknown numbers are empty."""
    lines = pages.table([row, row._replace(tunedb_us=None, error=None, failure="a | b")]).splitlines()
    assert len(lines) == 4
    assert (
        "| kb81 | conv_transpose2d | float32 | channels_first | direct | 50.0 | 100.0 | 2.00 | 40.0 |"
        in lines[2]
    )
    assert lines[3].replace("\\|", "").count("|") == lines[0].count("|")


def test_the_page_says_where_how_and_what_failed(pages, row):
    """A page names device, versions, date and command, counts what it holds, and lists each failure before the table."""
    rows = [row, row._replace(name="kb79", failure="1.2 times torch's time")]
    text = pages.page(
        rows, pages.summary(rows, device="h200", records=3), where="NVIDIA H200, today", said="python it"
    )
    assert "NVIDIA H200, today.\n\nCommand: `python it`" in text
    assert "of 3 answers `exact`, 1 not reached; 2.00 times torch" in text
    assert "- kb79 conv_transpose2d float32 channels_first, by direct: 1.2 times torch's time" in text
    assert text.index("## Failures") < text.index(pages.table(rows))
    whole = [row]
    text = pages.page(whole, pages.summary(whole, device="h200", records=1), where="", said="")
    assert "## Failures\n\nNone.\n" in text


def test_the_summary_counts_and_names_what_failed(pages, row):
    """Counts, geometric means, the worst ratio and each failure are in the summary, which is JSON."""
    rows = [
        row,
        row._replace(name="b", kernel="aten", tunedb_us=100.0),
        row._replace(name="c", tunedb_us=125.0, failure="slow"),
    ]
    found = pages.summary(rows, device="h200", records=5)
    assert json.loads(json.dumps(found)) == found
    assert (found["checked"], found["unchecked"], found["exact"], found["by_torch"]) == (3, 2, 3, 1)
    assert found["times_faster"] == pytest.approx((2 * 1 * 0.8) ** (1 / 3), abs=1e-3)
    assert found["times_faster_where_not_torch"] == pytest.approx(1.6**0.5, abs=1e-3)
    assert found["worst"] == ["c", "float32", "channels_first", 0.8]
    assert found["failures"] == [["c", "float32", "channels_first", "slow"]]
    assert pages.summary([], device="h200", records=0)["times_faster"] is None


CHILD = """
import json, sys
row, left = {row!r}, sys.argv[sys.argv.index("--work") + 1].split(",")
for index in left:
    if index == "1":
        sys.exit(3)
    print("noise")
    print(json.dumps({{"index": int(index), "row": [index, *row[1:]]}}), flush=True)
    if index == "2":
        sys.exit({lost})
"""


def test_a_child_that_dies_costs_one_record(script, row, record, monkeypatch, tmp_path):
    """A child that dies is replaced: the record it was at is a failure, those before and after are checked."""
    child = tmp_path / "child.py"
    child.write_text(CHILD.format(row=tuple(row), lost=script.LOST))
    monkeypatch.setattr(script, "__file__", str(child))
    sized = [
        record._replace(problem=record.problem._replace(n=n)) for n in (1, 4, 3, 2, 5)
    ]  # the dearest first: 4, 1, 2, 3, 0
    rows = script.checked(sized, [0], time.monotonic() + 60)
    assert [found.name for found in rows if not found.failure] == ["4", "2", "3", "0"]
    assert [found.failure for found in rows if found.failure] == ["the process ended with exit status 3"]


def test_the_time_box_ends_a_hanging_child(script, record, monkeypatch, tmp_path):
    """A child that hangs is ended with the time box, and its records stay unchecked."""
    child = tmp_path / "child.py"
    child.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(script, "__file__", str(child))
    start = time.monotonic()
    assert script.checked([record, record], [0], start + 0.5) == []
    assert time.monotonic() - start < 10


def test_without_a_gpu_it_says_so(script, monkeypatch):
    """On a machine without a GPU the script ends with one message."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["check_dispatch.py"])
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        script.main()


def test_a_sample_is_spread_over_the_records(script, monkeypatch):
    """--sample takes that many problems, evenly spread, or all where there are fewer."""
    monkeypatch.setattr(script, "candidates", lambda *_: list(range(10)))

    def found(*words):
        return script.chosen(script.parsed(words))

    assert found("--sample", "4") == [0, 2, 5, 7]
    assert found() == found("--sample", "99") == list(range(10))
