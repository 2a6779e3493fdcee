"""The script that holds the time model against measured trials."""

import importlib.util
import json
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tunedb.tune import predict

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_model.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("check_model", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ranks(script):
    """Equal values share the mean of their ranks."""
    assert script.ranks([30.0, 10.0, 30.0, 20.0]) == [2.5, 0.0, 2.5, 1.0]


def test_figures(script, monkeypatch, tmp_path, capsys, problem):
    """A model that takes the second best for the best and halves every time is told exactly that; failures do not count."""
    path = tmp_path / "history.log"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="one")
    facts = {"device": "h200", "provenance": "measured", "label": "one", "problem": problem._asdict()}
    for name, value in facts.items():
        study.set_user_attr(name, value)
    times = [100.0, 110.0, *range(200, 300, 10)]
    for us in times:
        attrs = {"kernel": "k", "config": str(us), "status": "ok"}
        study.add_trial(optuna.trial.create_trial(value=us, user_attrs=attrs))
    lost = {"kernel": "k", "config": "1", "status": "wrong"}
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=lost))
    swapped = {100.0: 55.0, 110.0: 50.0}
    monkeypatch.setattr(
        predict, "predict_us", lambda *given: swapped.get(float(given[2]), float(given[2]) / 2)
    )
    monkeypatch.setattr(sys, "argv", ["check_model.py", str(path), "--device", "h200"])
    assert script.main() == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["problems"], said["trials"]) == (1, len(times))
    assert said["favourite_over_best"] == 1.1
    assert said["best_of_five_over_best"] == 1.0
    assert said["predicted_over_measured_median"] == 0.5
    assert 0.98 < said["rank_correlation_median"] < 1.0


def test_nothing_to_compare(script, monkeypatch, tmp_path):
    """A history without enough trials of the device is an error that says so."""
    path = tmp_path / "history.log"
    optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="one")
    monkeypatch.setattr(sys, "argv", ["check_model.py", str(path), "--device", "h200"])
    with pytest.raises(SystemExit, match="no problem with 10 good trials"):
        script.main()
