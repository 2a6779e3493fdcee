"""The script that replays searches with and without the predictor's first choices."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunedb.dispatch.unseen.shipped import shipped_predictor

LANDSCAPES = Path(__file__).parents[1] / "landscapes"
SMALL, OLD = (LANDSCAPES / f"{name}-channels_first.json.gz" for name in ("shared_rows-kb74-float16", "direct-kb72-float32"))  # fmt: skip


@pytest.fixture
def script(scripts, monkeypatch):
    """The script, with the predictor that ships in the place of one that LightGBM would fit."""
    scripts("keep_trials")  # so that the scripts' own packages can be imported
    monkeypatch.setitem(sys.modules, "predictor.fitting", SimpleNamespace(Data=None, fitted=None))
    module = scripts("compare_starts")
    monkeypatch.setattr(module, "fitted_without", lambda *_: shipped_predictor())
    return module


def test_both_starts_are_replayed(script, capsys):
    """What is expected most of finds more in its first trials; old landscapes are left out, and named."""
    assert script.main([str(SMALL), str(OLD), "--trials", "none.csv.gz", "--seeds", "1"]) == 0
    said = capsys.readouterr()
    assert "kb72 float32 channels_first of direct is left out" in said.err
    found = json.loads(said.out.splitlines()[-1])
    assert (found["problems"], found["seeds"]) == (1, 1)
    plain, led = (found["starts"][name]["after"] for name in script.STARTS)
    assert plain["100"] == led["100"] == 1.0
    assert led["4"] > plain["4"]


def test_old_landscapes_alone_say_nothing(script):
    """The remedy is named."""
    with pytest.raises(SystemExit, match="record one anew"):
        script.main([str(OLD), "--trials", "none.csv.gz"])
