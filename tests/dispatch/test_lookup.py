import os
import subprocess
import sys

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.store import files

H200 = by_slug("h200")
pytestmark = pytest.mark.usefixtures("fake_kernel")


def near(record, **change):
    return record._replace(problem=record.problem._replace(**change))


def test_empty(shelf, problem):
    """With no file at all torch's own kernel answers, and says why."""
    found = answer(problem, H200)
    assert found[:4] == ("aten", "aten", None, None)
    assert "no record on h200 or elsewhere is near enough" in found.reason


def test_exact(shelf, record, fake_kernel):
    """A fresh record of the problem on the device is the answer, with its config parsed."""
    shelf.put(record, ship="h200")
    found = answer(record.problem, H200)
    assert found[:4] == ("exact", "fake", fake_kernel.Config(64, "m"), record)
    assert found.reason == "measured on h200 for exactly this problem: fake 100.0 us, aten 200.0 us."


def test_exact_aten(shelf, record):
    """Where aten won, aten is the exact answer, without a config."""
    won = record._replace(kernel="aten", config="{}", kernel_hash="aten")
    shelf.put(won)
    assert answer(record.problem, H200)[:4] == ("exact", "aten", None, won)


def test_user_file_wins(shelf, record):
    """The user's record stands over the shipped one, even where it is slower."""
    shelf.put(record, ship="h200")
    shelf.put(record._replace(time_us=500.0))
    assert answer(record.problem, H200).record.time_us == 500.0


def test_measured_wins_over_predicted_within_a_tier(shelf, record):
    """A shipped measurement stands over the user's prediction; a prediction stands over nothing."""
    shelf.put(record._replace(provenance="predicted", time_us=1.0))
    assert answer(record.problem, H200).record.provenance == "predicted"
    shelf.put(record, ship="h200")
    assert answer(record.problem, H200).record.provenance == "measured"


def test_first_named_file_wins(tmp_path, monkeypatch, record):
    """Of the files in TUNEDB_PATH the first that knows the problem answers."""
    from tunedb.store.write import Store

    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.sqlite")
        with Store(paths[-1]) as store:
            if number:
                store.put(record._replace(trials=number))
    monkeypatch.setenv("TUNEDB_PATH", os.pathsep.join(map(str, paths)))
    files.reload()
    assert answer(record.problem, H200).record.trials == 1
    files.reload()


@pytest.mark.parametrize(
    "change", [{"precision": "ieee"}, {"dtype": "float16", "precision": "ieee"}, {"layout": "channels_last"}]
)
def test_key_parts_never_answer_for_each_other(shelf, record, change):
    """A record of another precision, dtype or layout answers in no tier."""
    shelf.put(record)
    assert answer(record.problem._replace(**change), H200)[:4] == ("aten", "aten", None, None)


@pytest.mark.parametrize(
    "change",
    [{"n": 4}, {"n": 64}, {"in_w": 250}, {"bias": 1}, {"padding_h": 2, "padding_w": 2}, {"in_h": 63}],
)
def test_near(shelf, record, change, fake_kernel):
    """A problem of the same layer within two doublings borrows the config and says how far it is."""
    shelf.put(record)
    found = answer(record.problem._replace(**change), H200)
    assert found[:4] == ("near", "fake", fake_kernel.Config(64, "m"), record)
    assert "doublings away, limit 2" in found.reason
    for name in change:
        assert f"{name} {getattr(record.problem, name)} instead of {change[name]}" in found.reason


@pytest.mark.parametrize(
    "change",
    [
        {"n": 65},
        {"n": 3},
        {"in_w": 300},
        {"c_in": 64},
        {"stride_h": 4},
        {"k_h": 1, "padding_h": 0},
        {"groups": 2},
    ],
)
def test_not_near(shelf, record, change):
    """Beyond two doublings, or as another layer, a problem borrows no config."""
    shelf.put(record._replace(aten_us=101.0))
    assert answer(record.problem._replace(**change), H200).tier == "aten"


def test_nearest_is_taken(shelf, record):
    """Of several near records the nearest answers; of equally near ones the one that differs least."""
    shelf.put(near(record, n=8), near(record, n=20), near(record, n=20, bias=1), near(record, n=50))
    assert answer(record.problem, H200).record.problem.n == 20
    assert answer(record.problem, H200).record.problem.bias == 0
    assert answer(record.problem._replace(bias=1), H200).record.problem.bias == 1


def test_near_measured_wins_over_near_predicted(shelf, record):
    """Within the tier a measured record answers before a predicted one that is nearer."""
    shelf.put(near(record, n=17)._replace(provenance="predicted"), near(record, n=30))
    assert answer(record.problem, H200).record.problem.n == 30


def test_near_aten(shelf, record):
    """Where aten won the nearest problem, aten is the near answer."""
    shelf.put(near(record, n=17)._replace(kernel="aten", config="{}", kernel_hash="aten"), near(record, n=30))
    found = answer(record.problem, H200)
    assert found[:3] == ("near", "aten", None)
    assert "so torch's own kernel is taken" in found.reason


def test_borrowed_config_must_be_valid(shelf, record, monkeypatch, fake_kernel):
    """A near config that cannot solve this problem is passed over for the next one."""
    shelf.put(near(record, n=17), near(record, n=30)._replace(config='{"BLOCK":32,"ORDER":"m"}'))
    monkeypatch.setattr(fake_kernel, "valid", lambda _, config, __: "too large" if config.BLOCK == 64 else "")
    assert answer(record.problem, H200).record.problem.n == 30


def test_stale_is_never_exact(shelf, record):
    """A record of changed code answers as a near hint that says so, and only where nothing fresh is near."""
    shelf.put(record._replace(kernel_hash="old"))
    found = answer(record.problem, H200)
    assert (found.tier, found.record.kernel_hash) == ("near", "old")
    assert found.reason.startswith("The record of this problem is stale: fake has changed")
    assert "a hint and untimed for this code" in found.reason
    shelf.put(near(record, n=40))
    found = answer(record.problem, H200)
    assert (found.tier, found.record.problem.n) == ("near", 40)
    assert found.reason.startswith("The record of this problem is stale")


def test_stale_user_record_yields_to_fresh_shipped(shelf, record):
    """A stale record of the user does not hide a fresh shipped one."""
    shelf.put(record._replace(kernel_hash="old"))
    shelf.put(record, ship="h200")
    assert answer(record.problem, H200)[:4][0::3] == ("exact", record)


@pytest.mark.parametrize("config", ['{"BLOCK":64}', '{"BLOCK":3,"ORDER":"m"}', '{"BLOCK":0,"ORDER":"m"}'])
def test_stale_config_of_other_fields_is_passed_over_silently(shelf, record, config):
    """What older code called a config may be none today: that is no fault of the file."""
    shelf.put(record._replace(kernel_hash="old", config=config))
    assert answer(record.problem, H200).tier == "aten"


def test_other_device(shelf, record):
    """A record of another device answers where its config is valid here, the same capability first, then the same problem."""
    shelf.put(record._replace(device="4090", time_us=1.0), ship="4090")
    assert answer(record.problem, H200).record.device == "4090"
    shelf.put(near(record, n=20)._replace(device="h100"), ship="h100")
    found = answer(record.problem, H200)
    assert (found.tier, found.record.device) == ("other-device", "h100")
    assert "on another device, h100" in found.reason
    shelf.put(record._replace(device="h100"))
    assert answer(record.problem, H200).record.problem == record.problem


def test_older_code_answers_for_itself_only(shelf, record):
    """What a GPU did with an older generation's code answers neither for the GPU nor for one of that generation."""
    older = record._replace(device="h200-sm89")
    shelf.put(older, ship="h200-sm89")
    shelf.put(older)
    assert answer(record.problem, by_slug("h200-sm89"))[:2] == ("exact", "fake")
    for slug in ("h200", "4090", "h100"):
        assert answer(record.problem, by_slug(slug)).tier == "aten"
    shelf.put(record, older)
    assert answer(record.problem, H200).record.device == "h200"


def test_prediction_yields_to_torch_measured_elsewhere(shelf, record):
    """Where torch won the problem on a measured device, it answers instead of a kernel that is only predicted here."""
    ada = by_slug("4090")
    predicted = record._replace(
        device="4090", provenance="predicted", aten_us=None, error=None, aten_error=None
    )
    shelf.put(predicted, ship="4090")
    shelf.put(record, ship="h200")
    assert answer(record.problem, ada)[:2] == ("exact", "fake")
    torch_won = record._replace(kernel="aten", config="{}", kernel_hash="aten", time_us=150.0, aten_us=150.0)
    shelf.put(torch_won, ship="h200")
    found = answer(record.problem, ada)
    assert found[:2] == ("other-device", "aten")
    assert found.reason.startswith("fake is only predicted on 4090")
    shelf.put(torch_won._replace(problem=record.problem._replace(n=17)), ship="h200")
    shelf.put(record, ship="h200")
    assert answer(record.problem, ada)[:2] == ("exact", "fake")
    shelf.put(torch_won, ship="h200")
    shelf.put(predicted._replace(provenance="measured", aten_us=200.0, error=3e-4, aten_error=3e-4))
    assert answer(record.problem, ada)[:2] == ("exact", "fake")


def test_other_device_must_be_valid_here(shelf, record):
    """A config that needs more shared memory than this device has is not borrowed."""
    shelf.put(record._replace(config='{"BLOCK":128,"ORDER":"m"}'), ship="h200")
    assert answer(record.problem, H200).tier == "exact"
    assert answer(record.problem, by_slug("4090")).tier == "aten"


def test_stale_record_of_another_device_is_nothing(shelf, record):
    """Stale and from elsewhere is too little to run anything."""
    shelf.put(record._replace(kernel_hash="old"), ship="h200")
    assert answer(record.problem, by_slug("h100")).tier == "aten"


def test_default(shelf, record, fake_kernel):
    """Where a kernel won the nearest problem of the class by 1.5 times, the config that won there answers."""
    shelf.put(record)
    found = answer(record.problem._replace(c_in=64), H200)
    assert found[:4] == ("default", "fake", fake_kernel.Config(64, "m"), record)
    assert "1.00 doublings away, was won by fake" in found.reason


def test_default_config_where_the_winning_one_is_not_valid(shelf, record, monkeypatch, fake_kernel):
    """Where the kin's config cannot solve the problem its kernel's default config answers."""
    shelf.put(record)
    monkeypatch.setattr(fake_kernel, "valid", lambda _problem, config, _device: "no" * (config.BLOCK == 64))
    found = answer(record.problem._replace(c_in=64), H200)
    assert found[:4] == ("default", "fake", fake_kernel.Config(32, "n"), record)
    assert "so its default config answers, untimed" in found.reason


@pytest.mark.parametrize(
    "change",
    [
        {"aten_us": 149.0},
        {"aten_us": None},
        {"provenance": "predicted"},
        {"kernel_hash": "old"},
        {"device": "4090"},
    ],
)
def test_no_default_without_a_clear_win(shelf, record, change):
    """A narrow win, a prediction, stale code or another device is no reason to run anything untimed."""
    shelf.put(record._replace(**change))
    assert answer(record.problem._replace(c_in=64), H200)[:3] == ("aten", "aten", None)


@pytest.mark.parametrize(
    "change", [{"c_in": 4096}, {"groups": 2, "c_in": 64}, {"stride_h": 1, "stride_w": 1, "c_in": 64}]
)
def test_no_default_outside_the_class(shelf, record, change):
    """Another stride class, another grouping or seven doublings away, a win says nothing."""
    shelf.put(record)
    assert answer(record.problem._replace(**change), H200).tier == "aten"


def test_no_default_where_the_kernel_has_none(shelf, record, monkeypatch, fake_kernel):
    """A kernel without a default, or with one that is not valid here, does not answer."""
    shelf.put(record)
    monkeypatch.setattr(fake_kernel, "valid", lambda _problem, config, _device: "no" * (config.BLOCK != 32))
    monkeypatch.setattr(fake_kernel, "default", lambda *_: None)
    assert answer(record.problem._replace(c_in=64), H200).tier == "aten"
    monkeypatch.setattr(fake_kernel, "default", lambda *_: fake_kernel.Config(3, "m"))
    assert answer(record.problem._replace(c_in=64), H200).tier == "aten"


def test_lookup_stays_light():
    """Looking up imports neither the writing side nor anything heavy."""
    code = (
        "import sys, tunedb.dispatch.lookup, tunedb.dispatch.explanation\n"
        "heavy = {'optuna', 'sqlalchemy', 'sqlite_utils', 'click', 'rich', 'triton', 'platformdirs'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
