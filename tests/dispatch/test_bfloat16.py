"""A bfloat16 problem is answered by float16's record."""

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer

H200 = by_slug("h200")
pytestmark = pytest.mark.usefixtures("fake_kernel")


def near(record, **change):
    return record._replace(problem=record.problem._replace(**change))


def test_bfloat16_is_answered_by_float16(shelf, record, fake_kernel):
    """Where bfloat16 has no record, float16's answers with its config, and the reason says so."""
    half = near(record, dtype="float16", precision="ieee")
    shelf.put(half, ship="h200")
    found = answer(half.problem._replace(dtype="bfloat16"), H200)
    assert found[:4] == ("exact", "fake", fake_kernel.Config(64, "m"), half)
    assert found.reason.startswith("float16's answer, compiled for bfloat16: measured on h200")


def test_bfloat16_has_its_own_record_first(shelf, record):
    """A record of bfloat16 itself stands over float16's, also where torch won it; a better tier of float16 over a worse of its own."""
    half = near(record, dtype="float16", precision="ieee")
    own = near(record, dtype="bfloat16", precision="ieee")._replace(
        kernel="aten", config="{}", kernel_hash="aten"
    )
    shelf.put(half, ship="h200")
    shelf.put(own)
    assert answer(own.problem, H200)[:4] == ("exact", "aten", None, own)
    larger = own.problem._replace(n=own.problem.n * 2)
    assert answer(larger, H200).record == own
    shelf.put(half._replace(problem=larger._replace(dtype="float16")))
    assert answer(larger, H200).record.problem.dtype == "float16"


def test_float16_is_not_answered_by_bfloat16(shelf, record):
    """The way is one-way: float16 never runs on bfloat16's record."""
    shelf.put(near(record, dtype="bfloat16", precision="ieee"))
    assert answer(record.problem._replace(dtype="float16", precision="ieee"), H200).record is None


def test_bfloat16_refuses_a_config_that_is_not_valid_for_it(shelf, record, fake_kernel, monkeypatch):
    """A config that float16 can run and bfloat16 cannot is left."""
    shelf.put(near(record, dtype="float16", precision="ieee"), ship="h200")

    def valid(problem, config, device):
        return "no" if problem.dtype == "bfloat16" else ""

    monkeypatch.setattr(fake_kernel, "valid", valid)
    assert (
        answer(record.problem._replace(dtype="bfloat16", precision="ieee"), H200).reason
        == "no record on h200 or elsewhere is near enough, so torch's own kernel answers."
    )
