"""Answers that nobody timed on the GPU: given where they are likely enough to be faster than torch."""

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.likely import LEAST, chance
from tunedb.dispatch.lookup import answer

ADA, H100 = by_slug("4090"), by_slug("h100")
pytestmark = pytest.mark.usefixtures("fake_kernel")


def expected(record, provenance="predicted", device="4090", **change):
    return record._replace(
        device=device, provenance=provenance, error=None, aten_error=None, time_us=100.0, time_us_low=90.0, time_us_high=112.0, **change
    )  # fmt: skip


@pytest.mark.parametrize("provenance", ["predicted", "proxy"])
def test_a_likely_gain_is_taken(shelf, record, provenance):
    """Three times as fast as torch should be: the record answers, and the reason says how sure that is."""
    shelf.put(expected(record, provenance, aten_us=300.0), ship="4090")
    found = answer(record.problem, ADA)
    assert found[:2] == ("exact", "fake")
    assert (
        "faster than torch, which is expected to take 300.0 us there, with a probability of 98 %"
        in found.reason
    )


@pytest.mark.parametrize("aten_us", [50.0, 100.0, 150.0])
def test_an_unlikely_gain_is_left_to_torch(shelf, record, aten_us):
    """Torch answers, and the reason names both times and the probability that is asked for."""
    shelf.put(expected(record, aten_us=aten_us), ship="4090")
    found = answer(record.problem, ADA)
    assert found[:3] == ("aten", "aten", None)
    assert "100.0 us" in found.reason
    assert f"at least {100 * LEAST:.0f} % are asked for" in found.reason


def test_a_near_record_is_weighed_too(shelf, record):
    """What is borrowed for another batch is as unsure."""
    shelf.put(expected(record, aten_us=120.0), ship="4090")
    assert answer(record.problem._replace(n=record.problem.n + 1), ADA).kernel == "aten"
    shelf.put(expected(record, aten_us=900.0), ship="4090")
    assert answer(record.problem._replace(n=record.problem.n + 1), ADA)[:2] == ("near", "fake")


def test_a_measured_record_is_not_weighed(shelf, record):
    """What was timed beside torch answers, however little it gains."""
    shelf.put(record._replace(device="4090", time_us=100.0, aten_us=101.5), ship="4090")
    assert answer(record.problem, ADA)[:2] == ("exact", "fake")


@pytest.mark.parametrize(("gain", "kernel"), [(1.6, "aten"), (2.2, "fake")])
def test_what_was_measured_on_another_generation_must_gain_more(shelf, record, gain, kernel):
    """An H200's record answers on a 4090 where it gains 2.1 times there; the reason says how sure that is."""
    shelf.put(record._replace(device="h200", time_us=100.0, aten_us=100.0 * gain), ship="h200")
    found = answer(record.problem, ADA)
    assert (found.kernel, found.record.device) == (kernel, "h200")
    assert f"h200 is of another generation: {gain:.2f} times torch there" in found.reason


@pytest.mark.parametrize("aten_us", [101.5, None])
def test_what_was_measured_on_the_same_generation_is_not_weighed(shelf, record, aten_us):
    """An H200's record answers on an H100 however little it gains; elsewhere, where torch's time is not known, torch does."""
    shelf.put(record._replace(device="h200", time_us=100.0, aten_us=aten_us), ship="h200")
    assert answer(record.problem, H100)[:2] == ("other-device", "fake")
    assert answer(record.problem, ADA).kernel == "aten"


def test_a_card_without_a_file_borrows_from_the_most_similar(shelf, record):
    """An RTX 4070 Ti SUPER has 66 multiprocessors: an L4 (58) is closer than an RTX 4090 (128), and both before an H200."""
    card = by_slug("4070-ti-super")
    for slug in ("4090", "l4"):
        shelf.put(expected(record, device=slug, aten_us=900.0), ship=slug)
    shelf.put(record, ship="h200")
    assert answer(record.problem, card).record.device == "l4"


def test_what_is_known_of_torch_decides_how_sure_one_is(record):
    """On a Hopper GPU torch's time is known better than on Ada, and there better in float32 than in 16 bits."""
    half = record.problem._replace(dtype="float16", precision="ieee")
    single = expected(record, aten_us=200.0)
    chances = [chance(single, H100), chance(single, ADA), chance(single._replace(problem=half), ADA)]
    assert chances == sorted(chances, reverse=True)
    assert chances[2] < LEAST < chances[0]
    assert chance(single._replace(aten_us=100.0), ADA) == pytest.approx(0.5)
    assert chance(single._replace(aten_us=None), ADA) is None
    assert chance(single._replace(time_us_low=50.0, time_us_high=200.0), H100) < chances[0]
