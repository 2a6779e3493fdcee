"""The page and the plot of the benchmark of real models, from made-up rows."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def page(scripts):
    return scripts("bench.model_page")


@pytest.fixture
def row(scripts):
    """Make a row; torch takes 2 ms and tunedb 1 by default."""
    kind = scripts("bench.model_rows").Row

    def made(model="net", **given):
        facts = {
            "kind": "image", "decoder": False, "dtype": "float16", "layout": "channels_first", "mode": "graph", "swept": True,
            "torch_ms": 2.0, "tunedb_ms": 1.0, "noise": 1.0, "expected_saved_ms": 1.0, "layers": 9, "layers_tunedb": 5,
            "first_call_s": 1.5, "torch_first_call_s": 0.5, "peak_mb": 120.0, "torch_peak_mb": 100.0, "error": 1e-3, "torch_error": 1e-3,
            "notes": [], "failure": "", "device": "NVIDIA H100", "versions": {"torch": "2.11.0", "timm": "1.0"}, "date": "2026-11-26",
            "command": "python scripts/bench_models.py",
        } | given  # fmt: skip
        for side in ("torch", "tunedb"):
            time = facts[f"{side}_ms"]
            facts[f"{side}_ms_spread"] = time and (0.9 * time, 1.1 * time)
        return kind(model=model, **facts)

    return made


@pytest.fixture
def rows(row):
    return [
        row(),
        row(layout="channels_last", torch_ms=1.5, tunedb_ms=1.2, expected_saved_ms=0.6),
        row("voc", kind="audio", decoder=True, torch_ms=8.0, tunedb_ms=1.0, noise=0.9, expected_saved_ms=10.0),
        row("slow", torch_ms=0.975, expected_saved_ms=0.1),
        row("slow", mode="eager", torch_ms=0.975, noise=0.97),
        row("lost", torch_ms=None, tunedb_ms=None, noise=None, failure="OutOfMemoryError: a | b"),
        row(swept=False, tunedb_ms=2.0, expected_saved_ms=0.0, notes=["a warning"]),
    ]  # fmt: skip


def test_means_are_geometric_in_torchs_layout(page, rows):
    """Each sweep, mode, dtype and layout is a group of its own, with its vocoders and decoders, kinds and lowest."""
    first = page.means(rows)[0]
    assert (first["swept"], first["mode"], first["layout"]) == (True, "graph", "channels_first")
    assert first["all"] == (pytest.approx((2 * 8 * 0.975) ** (1 / 3), abs=1e-3), 3)
    assert first["decoders"] == first["audio"] == (8.0, 1)
    assert first["video"] is None
    assert first["lowest"] == ["slow", 0.975]
    assert len(page.means(rows)) == 4


def test_the_faster_layouts_are_compared(page, rows):
    """Torch's faster layout over tunedb's faster one, for models that have both."""
    ((first, last, ratio),) = page.faster_layouts(rows)
    assert (first.layout, last.layout) == ("channels_first", "channels_last")
    assert ratio == pytest.approx(1.5 / 1.0)


def test_slower_than_torch_allows_for_noise(page, rows, row):
    """0.975 is too slow, but not where torch differs from itself by more than 2 %; 0.96 always is."""
    assert [(one.model, one.mode) for one in page.below(rows)] == [("slow", "graph")]
    assert page.below([row(torch_ms=0.96, noise=0.9), row(torch_ms=0.98)]) != []
    assert page.below([row(torch_ms=0.981)]) == []
    assert "both sides are torch" in page.page([row(torch_ms=0.5, layers_tunedb=0)], None)
    assert "both sides are torch" not in page.page([row(torch_ms=0.5)], None)


def test_a_promise_is_held_against_what_arrived(page, rows):
    """Graphs with more than 0.2 ms to save are listed, and marked where less than 0.8 or more than 1.2 of it arrived."""
    text = page.page(rows, None)
    lines = [line for line in text.splitlines() if line.startswith("| ") and "off" in line]
    assert lines == [
        "| net | float16 | channels_last | swept | 0.600 | 0.300 | 0.50 **off** |",
        "| voc | float16 | channels_first | swept | 10.000 | 7.000 | 0.70 **off** |",
    ]
    assert "| net | float16 | channels_first | swept | 1.000 | 1.000 | 1.00 |" in text
    assert "| slow | float16 | channels_first | swept | 0.100" not in text


def test_the_page_says_everything(page, rows):
    """Versions, commands, failures, warnings and every row stand on the page; its tables are rectangular."""
    text = page.page(rows, "models.svg")
    for said in (
        "- NVIDIA H100, torch 2.11.0, timm 1.0, 2026-11-26",
        "(models.svg)",
        "- `python scripts/bench_models.py`",
        "- lost float16 channels_first graph swept: OutOfMemoryError: a | b",
        "- net float16 channels_first graph unswept: a warning",
        "- slow float16 channels_first graph swept: 0.975; torch against torch 1.000",
        "| float16 | channels_first | graph | swept | 2.000 (1.800 to 2.200) | 1.000 (0.900 to 1.100) | 2.00 | 1.000 | 1.000 | 5 of 9 | 1.5 (0.5) | 120 (100) | 1.00e-03 (1.00e-03) |",
    ):
        assert said in text, said
    width = 0
    for line in text.splitlines():
        width = 0 if not line.startswith("|") else width or line.count("|")
        assert not line.startswith("|") or line.count("|") == width, line


def test_the_summary_is_short_and_json(page, rows):
    """What a run prints last names groups, slow rows and savings that did not arrive."""
    found = json.loads(json.dumps(page.summary(rows)))
    assert found["means"]["swept graph float16 channels_last"] == [1.25, 1]
    assert found["torchs_faster_layout"] == {"swept graph float16": [1.5, 1]}
    assert found["below"] == ["slow float16 channels_first graph swept: 0.975, noise 1.000"]
    assert found["savings_off"] == [
        "net float16 channels_last graph swept: 0.50", "voc float16 channels_first graph swept: 0.70",
    ]  # fmt: skip


def test_the_plot_places_ratios(scripts, rows):
    """A mark stands right of the line of 1 by the logarithm of its ratio, in its mode's panel and inside the picture."""
    root = ET.fromstring(scripts("bench.model_plot").plot(rows))
    texts = {text.text: float(text.get("x")) for text in root.iter(f"{SVG}text")}
    assert {"graph", "eager", "net", "net cl", "voc"} <= set(texts)
    assert "compiled" not in texts
    marks = {
        (group.findtext(f"{SVG}title") or "").partition(":")[0]: float(group.find(f"{SVG}circle").get("cx"))
        for group in root.iter(f"{SVG}g")
        if group.find(f"{SVG}title") is not None
    }
    one = min(x for text, x in texts.items() if text == "1")
    graph = {name: x for name, x in marks.items() if " graph " in name}
    net = graph["net float16 channels_first graph swept"]
    voc = graph["voc float16 channels_first graph swept"]
    unswept = graph["net float16 channels_first graph unswept"]
    assert voc - unswept == pytest.approx(3 * (net - unswept), abs=0.4)
    assert 0 < min(marks.values()) <= max(marks.values()) < float(root.get("width"))
    assert one > 0


def test_nothing_measured_has_a_page_and_a_plot(page, scripts):
    """A run that was ended before its first row is written all the same."""
    ET.fromstring(scripts("bench.model_plot").plot([]))
    assert "No rows." in page.page([], None)


def test_rows_survive_their_file(scripts, rows, tmp_path):
    """A file gives the rows that were written, one a line; no file gives none."""
    found = scripts("bench.model_rows")
    path = tmp_path / "new" / "models.json"
    assert found.read(path) == []
    found.write(path, rows)
    assert {row.key: row for row in found.read(path)} == {row.key: row for row in rows}
    assert len(path.read_text().splitlines()) == len(rows) + 2


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*/models.json")))
def test_a_committed_page_is_what_its_rows_give(scripts, page, path):
    """The page and the plot beside committed rows are made from them."""
    rows = scripts("bench.model_rows").read(path)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page.page(rows, "models.svg")
    drawing = scripts("bench.model_plot").plot(rows)
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == drawing
