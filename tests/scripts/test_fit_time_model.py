"""Fitting the time model: what is written answers as what was fitted. Needs LightGBM and scikit-learn, which tunedb does not."""

import types
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")
pytest.importorskip("triton")

from tunedb.dispatch.unseen.features import KERNELS  # noqa: E402
from tunedb.dispatch.unseen.trees import forest_of  # noqa: E402
from tunedb.tune.predict.time_model import COLUMNS, time_model  # noqa: E402
from tunedb.tune.predict.torch_time import ratio_features  # noqa: E402

TRIALS = Path(__file__).parents[2] / "benchmarks" / "trials"


@pytest.fixture
def times(scripts):
    return scripts("predictor.times")


def test_extra_trees_as_arrays(times):
    """Their mean, walked in plain Python, is scikit-learn's."""
    published = times.Published.read(TRIALS / "published.json")
    model = times.torch_trees(published)
    forest = forest_of(times.extra_arrays(model), COLUMNS["torch"])
    for one in published.layers[:8]:
        features = ratio_features(one.problem, one.hopper_us)
        assert forest.value(features) == pytest.approx(model.predict([features])[0], abs=2e-3)


def test_layers_of_one_torch_have_the_published_times_of_hopper(times):
    """The geometric mean of two H100s stands for the H200, and the Ada cards' times are as they were."""
    published = times.Published.read(TRIALS / "published.json")
    one, same = published.layers[0], published.of_one_torch().layers[0]
    assert same.hopper_us**2 == pytest.approx(one.published["H100Modal"] * one.published["H100PCIe"])
    assert same._replace(hopper_us=one.hopper_us) == one


def test_the_shipped_model_is_what_the_tables_give(times):
    """Its counts are those of the kept trials, and it knows every device that has some."""
    from instructions.lines import key_of_row, read_codes
    from trials.table import read

    rows = [row for path in sorted(TRIALS.glob("*.csv.gz")) for row in read(path)]
    fine = [row for row in rows if row.kernel in KERNELS and row.status == "ok" and row.time_us]
    model = time_model()
    assert (model.facts["trials"], model.devices) == (len(fine), ("h100", "h100-sm89", "h200", "h200-sm89"))
    assert model.facts["problems"] == len({(row.device, row.problem) for row in fine})
    codes = read_codes(TRIALS.parent / "instructions.jsonl.gz")
    assert model.facts["counted"] == sum(key_of_row(row) in codes for row in fine)


def test_the_mean_of_both_trees_where_code_is_known(times, monkeypatch):
    """Trials whose instructions nobody counted are told by sizes alone; the second trees are fitted to what is counted."""
    trials = types.SimpleNamespace(
        features=np.zeros((4, 2)), with_code=np.ones((4, 5)), counted=np.array([True, False, True, False]),
        base=np.full(4, 3.0), spills=np.array([0.0, 0.0, 100.0, 100.0]),
    )  # fmt: skip
    fitted = []

    def time_trees(_, use, seen=None):
        fitted.append(list(use))
        return types.SimpleNamespace(predict=lambda given: np.full(len(given), 1.0 if seen is None else 2.0))

    monkeypatch.setattr(times, "time_trees", time_trees)
    monkeypatch.setattr(times, "spill_cost", lambda *_: 0.01)
    use = np.array([True, True, False, True])
    assert list(times.TimeModel(trials, use).expected(trials)) == pytest.approx([4.5, 4.0, 5.5, 5.0])
    assert fitted == [list(use), [True, False, False, False]]
    assert list(
        times.TimeModel(trials, np.array([False, True, False, True])).expected(trials)
    ) == pytest.approx([4.0, 4.0, 5.0, 5.0])


def test_what_spills_cost_is_learned_from_the_trials_that_say_so(times, monkeypatch):
    """Configs that take twice as long for each 400 bytes cost 0.0025 doublings a byte; one outlier changes nothing, and none told is none."""
    problems = [(0, 0, 0, 0, number, 0, 0, 0, 0) for number in range(60)]
    spills = np.array([200.0 if number % 3 == 0 else 0.0 for number in range(60)])
    trials = types.SimpleNamespace(
        rows=[types.SimpleNamespace(problem=one) for one in problems], spills=spills,
        features=np.zeros((60, 1)), base=np.full(60, 3.0), took=3.0 + 0.0025 * spills,
    )  # fmt: skip
    trials.took[0] += 9.0
    seen = []

    def time_trees(of, use, *_):
        seen.append(use)
        return types.SimpleNamespace(predict=lambda features: np.zeros(len(features)))

    monkeypatch.setattr(times, "time_trees", time_trees)
    assert times.spill_cost(trials, np.ones(60, bool)) == pytest.approx(0.0025)
    assert len(seen) == times.PARTS
    assert not np.all(seen, axis=0).any()  # each layer is held against trees that do not know it
    trials.spills = np.zeros(60)
    assert times.spill_cost(trials, np.ones(60, bool)) == 0.0


def test_the_shipped_model_knows_what_spills_cost():
    """256 bytes, the most that is timed, make a config 1.2 to 2 times as slow."""
    assert 1.2 < 2 ** (256 * time_model().facts["spill"]) < 2.0
