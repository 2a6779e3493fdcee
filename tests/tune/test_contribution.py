"""The text that a user may send: what it says, and what it never says."""

import landscape
import pytest
from fake_sweep import DEVICE, LIMITS, PARTS
from stored_answers import answer, config, put

from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.tune.confirm import confirm
from tunedb.tune.settings import Settings

PROBLEM, DEAR = landscape.problem(n=1), landscape.problem(n=1, c_out=50)
FAST, BROKEN = ("alpha", config()), ("alpha", '{"/home/alice":1}')


@pytest.fixture
def confirmed(shelf):
    """Confirm two problems, a model's layers with names of its own, in a folder that tells who the user is."""
    shelf.user = shelf.folder / "alice" / "mine.sqlite"
    shelf.user.parent.mkdir()
    shelf.shipped["h200"] = shelf.folder / "h200.sqlite"
    put(shelf.shipped["h200"], answer(PROBLEM), FAST, BROKEN)
    put(shelf.shipped["h200"], answer(DEAR, provenance="proxy"), FAST)
    settings = Settings(DEVICE, "measured", None, "", shelf.user, (0,), workers=1, parts=PARTS, limits=LIMITS)
    return lambda: confirm(settings, labels={PROBLEM: "alices.secret.layer"})


def test_it_has_device_versions_and_ratios_and_no_more(confirmed):
    """It names device, versions and each problem by its sizes, with its times; no path, no layer's name, no cause in words."""
    text = confirmed().text.read_text(encoding="utf-8")
    head, predicted, *rest = text.splitlines()
    assert head.startswith("tunedb ")
    assert head.endswith("device h200 (NVIDIA H200), triton 3.0, torch 2.0, cudnn 9.0, driver 500.0")
    assert rest[0] == "predicted: 1 compared, measured / stored median 1.250, worst 1.250"
    assert predicted == "proxy: 1 compared, measured / stored median 1.250, worst 1.250"
    assert rest[1] == "confirmed 2, changed 1, to torch 1, candidates refused: 1 invalid"
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in rest[3:]}
    sizes = "conv2d float16 channels_first x 1x8x64x64 w {}x8x3x3".format
    assert rows == {
        sizes(1000): ["predicted", "alpha", "80", "100", "1.25", "alpha", "100", "1000", "invalid"],
        sizes(50): ["proxy", "alpha", "80", "100", "1.25", "aten", "50", "50", "-"],
    }
    assert "alice" not in text


def test_a_second_run_adds_to_it(confirmed, shelf):
    """The text of a stopped run stays in front of that of the run that goes on; a run without news adds nothing."""
    first = confirmed().text.read_text(encoding="utf-8")
    assert confirmed().text is None
    with Store(shelf.user) as store:
        store.put(answer(PROBLEM, provenance="measured", triton="2.0"))
    second = confirmed().text.read_text(encoding="utf-8")
    assert second.startswith(f"{first}\n")
    assert "measured: 1 compared" in second.removeprefix(first)


def test_a_text_that_cannot_be_written_costs_no_record(confirmed, shelf):
    """The records are written all the same, and nothing is said to be sent."""
    shelf.user.with_name("mine.confirmed.h200.txt").mkdir()
    assert confirmed().text is None
    assert len(Database(shelf.user).records()) == 2


def test_merge_takes_what_was_sent(confirmed, shelf):
    """The database of a contribution replaces predictions in the file that is shipped, and may be merged twice."""
    confirmed()
    with Store(shelf.shipped["h200"]) as store:
        assert store.merge(shelf.user).taken == 2
        assert store.merge(shelf.user).taken == 0
    assert {one.provenance for one in Database(shelf.shipped["h200"]).records()} == {"measured"}
