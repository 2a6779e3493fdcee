"""What is written of a benchmark: means over the problems that have both times, tables, a plot, the README's block."""

import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "benchmarks" / "h200" / "kernels.json"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def report(scripts):
    return scripts("bench.report")


@pytest.fixture
def plot(scripts):
    return scripts("bench.plot").plot


def times(**medians):
    return {column: (median, median - 1.0, median + 1.0) for column, median in medians.items()}


@pytest.fixture
def row(report):
    return report.Row(
        "kb81", "conv_transpose2d", "float32", "channels_first", 10.0,
        times(cudnn=80.0, heuristic=90.0, triton=20.0, sm89=40.0, dispatched=20.0), {"triton": "direct", "dispatched": "direct"}, [], [],
    )  # fmt: skip


@pytest.fixture
def results(report, row):
    rows = [
        row,
        row._replace(id="kb63", op="conv2d", times=times(cudnn=40.0, triton=50.0, dispatched=41.0)),
        row._replace(id="kb64", op="conv2d", times=times(cudnn=40.0, dispatched=40.0), kernels={"dispatched": "aten"}, notes=["triton: no record"]),
        row._replace(id="kb76s", op="conv1d", times=times(cudnn=4000.0, triton=1.0, dispatched=1.0)),
        row._replace(id="kb63", op="conv2d", layout="channels_last", floor_us=None, times={}, kernels={}, failures=["a | b"]),
    ]  # fmt: skip
    versions = {"triton": "3.6.0", "torch": "2.11.0", "cudnn": "9.19.0", "driver": "580"}
    return report.Results(
        "NVIDIA H200", versions, "2026-11-21", "python scripts/bench_kernels.py", "kernelbench", rows
    )


def test_means_are_over_the_problems_that_have_both(report, results):
    """Ratios count problems with both times only, say how many, and leave the second length of kb76 out."""
    first, second = report.summary(results)["groups"]
    assert (first["dtype"], first["layout"], first["problems"]) == ("float32", "channels_first", 3)
    triton = first["triton"]
    assert triton["times_cudnn"] == pytest.approx(math.sqrt(4 * 0.8), abs=1e-3)
    assert triton["share_of_floor"] == pytest.approx(math.sqrt(0.5 * 0.2), abs=1e-3)
    assert (triton["of"], triton["wins"], triton["lowest"]) == (2, 1, ["kb63", 0.8])
    assert (triton["transposed_times_cudnn"], triton["transposed_of"]) == (4.0, 1)
    assert (first["sm89"]["times_cudnn"], first["sm89"]["of"]) == (2.0, 1)
    assert first["dispatched"]["of"] == 3
    assert first["cudnn"]["share_of_floor"] == pytest.approx((0.125 * 0.25 * 0.25) ** (1 / 3), abs=1e-3)
    assert (second["problems"], "triton" in second) == (1, False)


def test_a_dispatched_kernel_stands_for_one_that_no_sweep_timed(report, results, row):
    """Without a record of tunedb's own kernels a dispatched one counts and is marked; torch's does not."""
    lone = row._replace(times=times(cudnn=80.0, dispatched=16.0), kernels={"dispatched": "direct"})
    found = results._replace(rows=[lone])
    assert report.summary(found)["groups"][0]["triton"]["times_cudnn"] == 5.0
    line = next(line for line in report.page(found, None).splitlines() if line.startswith("| kb81 "))
    assert "| 16.0 (15.0 to 17.0)* | 16.0 (15.0 to 17.0) | direct | direct | 5.00 | 62 % |" in line
    by_torch = results._replace(rows=[lone._replace(kernels={"dispatched": "aten"})])
    assert "triton" not in report.summary(by_torch)["groups"][0]


def test_the_summary_is_json_and_names_failures(report, results):
    """The last line of a run is JSON, with every failure by its problem."""
    found = report.summary(results)
    assert json.loads(json.dumps(found)) == found
    assert found["failures"] == [["kb63", "float32", "channels_last", "a | b"]]
    assert report.summary(results._replace(rows=[]))["groups"] == []


def test_results_come_back_from_their_file(report, results, tmp_path):
    """The file has a line a problem and gives the same results back."""
    path = tmp_path / "kernels.json"
    results.write(path)
    assert report.Results.read(path) == results
    assert sum('"op"' in line for line in path.read_text().splitlines()) == len(results.rows)
    empty = results._replace(rows=[])
    empty.write(path)
    assert report.Results.read(path) == empty


def test_the_page_has_everything(report, results):
    """The page says device, versions, date and command, and has every problem, failure and note."""
    text = report.page(results, "kernels.svg")
    assert "NVIDIA H200, Triton 3.6.0, torch 2.11.0, cuDNN 9.19.0, driver 580, 2026-11-21" in text
    assert "`python scripts/bench_kernels.py`" in text
    assert "(kernels.svg)" in text
    assert "- kb63 float32 channels_last: a | b" in text
    assert "- kb64 float32 channels_first: triton: no record" in text
    line = next(line for line in text.splitlines() if line.startswith("| kb81 "))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:4] == ["kb81", "conv_transpose2d", "10.0", "80.0 (79.0 to 81.0)"]
    assert cells[-2:] == ["4.00", "50 %"]


def test_tables_are_rectangular(report, results):
    """Every line of a table has as many cells as its head, with missing times and with bars in a text."""
    for text in (report.page(results, None), report.table(["a", "b"], [["1", "x | y"]])):
        width = 0
        for line in text.replace("\\|", "").splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            width = width or line.count("|")
            assert line.count("|") == width, line


def test_the_summary_table_says_how_many(report, results):
    """A mean stands with the number of its problems; torch.compile has a column only where it was timed."""
    lines = report.summary_table(results).splitlines()
    assert (
        "| float32 channels_first | 3 | 1.79x (2) | 1 of 2 | 32 % (20 %) | 2.00x (1) | 1.57x (3) | 0.98 (kb63) |"
        in lines[2]
    )
    assert "torch.compile" not in lines[0]
    slow = results.rows[1]._replace(times=times(cudnn=40.0, compile=80.0))
    lines = report.summary_table(results._replace(rows=[slow])).splitlines()
    assert "torch.compile" in lines[0]
    assert lines[2].endswith("| 0.50x (1) |")


def test_the_plot_places_times_over_the_floor(plot, results):
    """Each time is a mark right of the floor's line by the logarithm of its ratio, one panel a dtype and layout."""
    root = ET.fromstring(plot(results))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "float32 channels_first" in texts
    assert any("NVIDIA H200" in text and "2026-11-21" in text for text in texts)
    group = next(
        group
        for group in root.iter(f"{SVG}g")
        if (group.findtext(f"{SVG}title") or "").startswith("kb81 conv")
    )
    cudnn, triton = (float(mark.get("cx")) for mark in group.iter(f"{SVG}circle"))
    ticks = {
        text.text: float(text.get("x")) for text in root.iter(f"{SVG}text") if text.get("font-size") == "9"
    }
    assert triton == pytest.approx(ticks["2"], abs=0.2)
    assert cudnn - triton == pytest.approx(2 * (ticks["2"] - ticks["1"]), abs=0.3)


def test_a_plot_stays_within_its_picture(plot, results, row):
    """No mark lies outside, however far a time is from the floor, and below it too."""
    far = row._replace(id="far", times=times(cudnn=9000.0, triton=7.0))
    root = ET.fromstring(plot(results._replace(rows=[row, far])))
    width, height = (float(root.get(side)) for side in ("width", "height"))
    for mark in root.iter(f"{SVG}circle"):
        assert 70 < float(mark.get("cx")) < width
        assert 0 < float(mark.get("cy")) < height


def test_an_empty_run_has_a_page_and_a_plot(report, plot, results):
    """A run that was ended before its first problem is written all the same."""
    empty = results._replace(rows=[])
    ET.fromstring(plot(empty))
    assert "None." in report.page(empty, None)


def test_a_page_is_rewritten_between_its_marks(report, results, tmp_path):
    """Only what stands between the marks changes, and a second time changes nothing."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    report.rewrite(readme, results, tmp_path / "benchmarks" / "kernels.json")
    text = readme.read_text()
    assert text.startswith(f"before\n\n{report.BEGIN}\n")
    assert text.endswith(f"\n{report.END}\n\nafter\n")
    assert "old" not in text
    assert f"`{(tmp_path / 'benchmarks' / 'kernels.md').as_posix()}`" in text
    assert report.summary_table(results) in text
    report.rewrite(readme, results, tmp_path / "benchmarks" / "kernels.json")
    assert readme.read_text() == text


def test_a_page_without_marks_is_left_alone(report, results, tmp_path):
    """A file without both marks is refused with what to add."""
    readme = tmp_path / "README.md"
    readme.write_text(f"text {report.BEGIN}")
    with pytest.raises(SystemExit, match="kernels:end"):
        report.rewrite(readme, results, tmp_path / "kernels.json")
    assert readme.read_text() == f"text {report.BEGIN}"


def test_pages_can_be_written_again_from_the_results(scripts, report, results, tmp_path, monkeypatch, capsys):
    """Without a GPU, the results give page, plot and summary again."""
    path = tmp_path / "kernels.json"
    results.write(path)
    monkeypatch.setattr("sys.argv", ["bench_report.py", str(path), "--out", str(tmp_path / "kernels.md")])
    assert scripts("bench_report").main() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report.summary(results)
    assert (tmp_path / "kernels.md").read_text() == report.page(results, "kernels.svg")
    assert (tmp_path / "kernels.svg").exists()


@pytest.mark.skipif(not COMMITTED.exists(), reason="no results are committed")
def test_the_docs_say_what_the_results_say(report, plot):
    """The block of docs/benchmarks.md, the page and the plot are what the committed results give."""
    results = report.Results.read(COMMITTED)
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    block = text.partition(report.BEGIN)[2].partition(report.END)[0]
    assert block == f"\n{report.readme_block(results, 'benchmarks/h200/kernels.md')}\n"
    assert COMMITTED.with_suffix(".md").read_text(encoding="utf-8") == report.page(results, "kernels.svg")
    assert COMMITTED.with_suffix(".svg").read_text(encoding="utf-8") == plot(results)


def test_a_page_says_where_and_when(scripts, monkeypatch):
    """Every page's heading has the GPU, the versions that times depend on and the day, from a file or from the GPU at hand."""
    import torch

    results = scripts("bench.results")
    given = {"triton": "3.6.0", "torch": "2.11.0", "cudnn": "9.19.0", "driver": "580"}
    said = "Triton 3.6.0, torch 2.11.0, cuDNN 9.19.0, driver 580, 2026-11-21"
    assert results.heading("NVIDIA H200", given, "2026-11-21") == f"NVIDIA H200, {said}"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Some")
    here = results.heading_here()
    assert re.fullmatch(r"NVIDIA Some, Triton .*, torch .*, cuDNN .*, driver .*, \d{4}-\d\d-\d\d", here)
