"""Figures of predictions held against measurements, their page, and the road from a predicted file to a measured one."""

import json
import types
from pathlib import Path

import pytest

from tunedb.record import Measurement, Tried
from tunedb.store.write import Store

pytest.importorskip("numpy")
ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "benchmarks" / "predicted"
REQUIRED = {
    "problems",
    "of_swept",
    "lowest",
    "rank_correlation",
    "time_error",
    "torch_time_error",
    "below_0_97",
}


def test_figures(scripts):
    """Means are of best over pick, errors are medians, and only answers count as slower than torch."""
    module = scripts("predictor.compared")
    picks = [
        module.Pick(100.0, 110.0, 100.0, torch_us=200.0, torch_expected_us=150.0, correlation=0.5),
        module.Pick(200.0, 100.0, 50.0, torch_us=190.0, torch_expected_us=190.0, correlation=0.9),
        module.Pick(400.0, 400.0, 100.0, torch_us=100.0, answers=False),
    ]
    assert module.figures(picks) == {
        "problems": 3, "of_swept": 0.397, "lowest": 0.25, "rank_correlation": 0.7, "time_error": 0.1, "torch_time_error": 0.125,
        "below_0_97": 0.5, "answers": 2,
    }  # fmt: skip


def test_rank_correlation(scripts):
    """Of ten configs or more; ties share their rank; where all are alike nothing correlates."""
    import numpy as np

    module = scripts("predictor.compared")
    times = np.arange(10.0)
    assert module.rank_correlation(times, times**3) == pytest.approx(1.0)
    assert module.rank_correlation(times, -times) == pytest.approx(-1.0)
    assert module.rank_correlation(times[:9], times[:9]) is None
    with np.errstate(invalid="ignore"):
        assert module.rank_correlation(np.zeros(10), times) == 0.0


def test_the_committed_page_is_what_its_figures_give(scripts):
    """Written again from predicted.json and the shipped files it is the same; every table has the figures that are promised."""
    tables = json.loads((COMMITTED / "predicted.json").read_text())
    assert scripts("predictor.predicted_page").page(tables) == (COMMITTED / "README.md").read_text()
    assert {
        "h100_from_h200",
        "sm89_from_sm90",
        "h100_drawn",
        "sm89_by_sizes",
        "sm89_on_h200",
        "torch_on_l40s",
        "torch_on_l4",
        "torch_on_l40s_of_one_torch",
        "road",
        "road_models",
    } <= set(tables)
    assert all(set(table) >= REQUIRED for table in tables.values())


@pytest.fixture
def followed(scripts, tmp_path, capsys):
    """Follow the road of predicted, confirmed and swept records, each a list of pairs of a record and its candidates."""
    module = scripts("follow_road")

    def run(**files):
        for name, found in files.items():
            path = tmp_path / f"{name}.sqlite"
            path.unlink(missing_ok=True)
            with Store(path) as store:
                for record, candidates in found:
                    store.put(record, candidates)
        given = [part for name in files for part in (f"--{name}", str(tmp_path / f"{name}.sqlite"))]
        assert module.main([*given, "--out", str(tmp_path / "road.json")]) == 0
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert json.loads((tmp_path / "road.json").read_text()) == said
        return said["road"]

    return run


A, B = '{"BLOCK":16,"ORDER":"n"}', '{"BLOCK":32,"ORDER":"n"}'


def candidate(config, us):
    return Tried("fake", config, Measurement("ok", us, us - 1, us + 1))


def test_a_road(followed, record, fake_kernel):
    """The pick took 125 us where the sweep's best took 100 beside the same torch; confirming found another that takes 100."""
    pick = record._replace(
        config=A, time_us=100.0, time_us_low=95.0, time_us_high=106.0, aten_us=400.0, error=None, aten_error=None, provenance="proxy", device="h100"
    )  # fmt: skip
    now = record._replace(config=B, time_us=110.0, aten_us=440.0, device="h100")  # a slower machine
    best = record._replace(config=B, time_us=100.0, aten_us=400.0, trials=40, device="h100")
    found = followed(
        predicted=[(pick, [])],
        confirmed=[(now, [candidate(A, 137.5), candidate(B, 110.0)])],
        swept=[(best, [])],
    )
    assert (found["problems"], found["of_swept"], found["picks_of_swept"], found["answers_of_swept"]) == (
        1,
        1.0,
        0.8,
        0.8,
    )
    assert (found["time_error"], found["torch_time_error"], found["candidates_of_trials"]) == (
        0.273,
        0.091,
        0.05,
    )
    assert (found["answers"], found["below_0_97"]) == (1, 0.0)


def test_an_unlikely_pick_is_no_answer(followed, record, fake_kernel):
    """Where the file leaves a problem to torch, torch's time is the answer's, however bad the pick is."""
    pick = record._replace(
        config=A, time_us=390.0, time_us_low=370.0, time_us_high=410.0, aten_us=400.0, error=None, aten_error=None, provenance="predicted", device="h100"
    )  # fmt: skip
    now = record._replace(
        kernel="aten", config="{}", kernel_hash="aten", time_us=400.0, aten_us=400.0, device="h100"
    )
    best = record._replace(config=B, time_us=320.0, aten_us=400.0, device="h100")
    found = followed(predicted=[(pick, [])], confirmed=[(now, [candidate(A, 3200.0)])], swept=[(best, [])])
    assert (found["picks_of_swept"], found["answers_of_swept"]) == (0.1, 0.8)
    assert (found["answers"], found["below_0_97"]) == (0, None)


def test_a_few_searches_that_are_known_whole_do_not_make_a_device_known_whole(scripts):
    """Of a device the most searches must be known with their losers: trees that know finalists alone take too much for good."""
    module = scripts("predictor.fitting")
    kinds = {
        "all": ["search"] * 3,
        "most": ["search", "search", "final"],
        "few": ["search", "final", "final"],
    }
    rows = [types.SimpleNamespace(device=slug, problem=number, run=run) for slug, runs in kinds.items() for number, run in enumerate(runs)]  # fmt: skip
    data = types.SimpleNamespace(keys=[(row.device, row.problem) for row in rows], own=[1.0] * 9)
    assert module.facts_of(rows, data) == {"problems": 9, "trials": 9, "whole": ["all", "most"]}
