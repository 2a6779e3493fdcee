"""The pages of what would answer unswept problems: from the figures of a check, and committed as they are written."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULE = {
    "rule": "today's tiers", "device": "h100", "problems": 443, "own": 0.37, "unknown": 71, "gain": 1.2, "of": 1.4,
    "slower": "1 of 89", "wrong": "2 of 91", "worst": 0.88, "fewest": 1.16, "most": 1.32, "best": 1.55,
}  # fmt: skip


@pytest.fixture
def pages(scripts):
    return scripts("unseen_pages")


def test_a_page_has_todays_tiers_of_what_was_left_out(pages, tmp_path):
    """Other rules are left aside; bounds are given as they are, and as a share of what sweeps found."""
    figures = tmp_path / "model.json"
    figures.write_text(json.dumps({"by": "model", "rules": [RULE | {"rule": "of them near"}, RULE]}))
    assert pages.main([str(figures), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "h100" / "unseen.json").read_text())
    assert found == {
        "models left out": {
            "problems": 443, "over_torch": [1.16, 1.32], "of_swept": [0.748, 0.852], "below_0_97": {"answers": 1, "timed": 89},
            "lowest": 0.88, "own_kernels": 0.37, "over_contract": {"answers": 2, "run": 91},
        }
    }  # fmt: skip
    text = (tmp_path / "h100" / "unseen.md").read_text()
    assert "| models left out | 443 | 1.16 to 1.32 | 0.75 to 0.85 | 37% | 1 of 89 | 0.88 | 2 of 91 |" in text


def test_figures_of_other_rules_alone_are_refused(pages, tmp_path):
    """The message says how to make them."""
    figures = tmp_path / "model.json"
    figures.write_text(json.dumps({"by": "model", "rules": [RULE | {"rule": "of them near"}]}))
    with pytest.raises(SystemExit, match=r"check_unseen\.py --json"):
        pages.main([str(figures), "--out", str(tmp_path)])


def test_committed_pages_are_what_their_figures_give(pages, tmp_path):
    """Written again from benchmarks/unseen they are the same."""
    figures = sorted((ROOT / "benchmarks/unseen").glob("*.json"))
    assert pages.main([*map(str, figures), "--out", str(tmp_path)]) == 0
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("unseen.*"))
    assert [str(path) for path in written] == [f"{slug}/unseen.{kind}" for slug in ("h100", "h200") for kind in ("json", "md")]  # fmt: skip
    for path in written:
        assert (tmp_path / path).read_text() == (ROOT / "benchmarks" / path).read_text()
