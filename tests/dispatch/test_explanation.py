import pytest

from tunedb.cli.json_forms import of_shown
from tunedb.device import by_slug, floor_us
from tunedb.dispatch import explanation
from tunedb.dispatch.explanation import explain_problem
from tunedb.record import Measurement, Tried
from tunedb.store.listing import show, shown_text
from tunedb.store.write import Store

pytestmark = pytest.mark.usefixtures("fake_kernel")
H200 = by_slug("h200")


def test_exact(shelf, record):
    """An exact answer expects its own time and shows where it was obtained, against what, and with which versions."""
    shelf.put(record)
    found = explain_problem(record.problem, H200)
    assert (found.expected_us, found.expected_from, found.aten_us) == (100.0, "measured", 200.0)
    text = str(found)
    for part in (
        "tier     exact",
        "kernel   fake",
        "config   BLOCK=64 ORDER=m",
        "expects  100.0 us, measured",
        "aten     200.0 us in the record's run",
        "error    3.00e-04 (aten 3.00e-04)",
        "record   measured on h200 at 2026-11-20T12:00:00+00:00, 40 trials",
        "versions triton 3.7.1, torch 2.13.0, cudnn 9.19, driver 580.1",
        f"floor    {floor_us(record.problem, H200):.1f} us",
    ):
        assert part in text


def test_near_is_scaled_by_work(shelf, record):
    """A near answer expects the record's time by its share of the work, never below the floor, and says so."""
    shelf.put(record)
    found = explain_problem(record.problem._replace(n=32), H200)
    assert found.answer.tier == "near"
    assert found.expected_us == pytest.approx(max(200.0, floor_us(found.problem, H200)))
    assert found.aten_us is None
    assert "measured 100.0 us on h200 scaled by 2 times the work" in found.expected_from
    fast = explain_problem(record.problem._replace(n=4), H200)
    assert fast.expected_us == pytest.approx(max(25.0, floor_us(fast.problem, H200)))


def test_default_and_aten_expect_nothing(shelf, record):
    """Where the record is only a reason, no time is promised and its figures are not shown as if they were."""
    shelf.put(record)
    for change, tier in (({"c_in": 64}, "default"), ({"c_in": 4096}, "aten")):
        found = explain_problem(record.problem._replace(**change), H200)
        assert found.answer.tier == tier
        assert found.expected_us is None
        assert "expects  unknown" in str(found)
        assert "error" not in str(found)


def test_predicted_and_datasheet_are_called_so(shelf, record):
    """A predicted time is called predicted, and the floor of a GPU that was not measured is the datasheet's."""
    shelf.put(
        record._replace(
            device="4090",
            provenance="predicted",
            aten_us=None,
            error=None,
            aten_error=None,
            cudnn="",
            driver="",
        )
    )
    text = str(explain_problem(record.problem, by_slug("4090")))
    assert "expects  100.0 us, predicted" in text
    assert "us, from the datasheet" in text
    assert "versions triton 3.7.1, torch 2.13.0" in text


def test_what_was_not_timed_here_is_no_run(shelf, record):
    """A proxy's record is for the card, not on it, and torch's time is expected."""
    change = {"device": "4090", "provenance": "proxy", "aten_us": 900.0, "error": None, "aten_error": None}
    shelf.put(record._replace(**change))
    text = str(explain_problem(record.problem, by_slug("4090")))
    assert "proxy for 4090 for exactly this problem: fake 100.0 us, torch expected 900.0 us." in text
    assert "aten     900.0 us expected" in text
    assert "record   proxy for 4090 at" in text
    assert "record's run" not in text


def test_ties_are_named(shelf, record):
    """What cannot be told from the answer is named, from the candidates that the file keeps; a slower one is not."""
    own = Tried(record.kernel, record.config, Measurement("ok", 100.0, 99.0, 101.0))
    tie = Tried("fake", '{"BLOCK":32,"ORDER":"n"}', Measurement("ok", 100.5, 99.5, 101.0))
    slow = Tried("fake", '{"BLOCK":32,"ORDER":"m"}', Measurement("ok", 120.0, 119.0, 121.0))
    with Store(shelf.user) as store:
        store.put(record, [own, tie, slow])
    found = explain_problem(record.problem, H200)
    assert found.ties == (tie.choice,)
    assert 'tied     fake {"BLOCK":32,"ORDER":"n"}' in str(found)
    assert "tied" not in str(explain_problem(record.problem._replace(n=32), H200))
    (shown,) = show(record.problem, [shelf.user])
    lines = shown_text(shown).splitlines()
    assert ["tied" in line for line in lines[-3:]] == [True, True, False]
    assert [one["tied"] for one in of_shown(shown)["candidates"]] == [True, True, False]


def test_what_runs_in_graphs_only_is_said(shelf, record, monkeypatch):
    """Torch answers eager calls there, so the reason must tell."""
    monkeypatch.setattr(
        explanation, "too_short_for_eager", lambda found: f" Not {found.kernel} in eager calls."
    )
    shelf.put(record)
    assert explain_problem(record.problem, H200).answer.reason.endswith("Not fake in eager calls.")  # fmt: skip
