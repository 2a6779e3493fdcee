"""The error contract: what passes, what does not, and why."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunedb.measure import tolerance
from tunedb.measure.reference import Deviation
from tunedb.measure.tolerance import Contract, disagreement

LIMITS = Contract(Deviation(3e-4, 2e-3), scale=1.0)


@pytest.mark.parametrize(
    ("error", "largest", "passes"),
    [
        (3e-4, 2e-3, True),
        (3.29e-4, 2e-3, True),
        (3.31e-4, 2e-3, False),  # more than a tenth worse
        (7.7e-4, 4e-3, False),  # TF32 truncated where torch rounds
        (3e-4, 7.9e-3, True),
        (3e-4, 8.1e-3, False),  # one element far off
        (math.inf, math.inf, False),
    ],
)
def test_a_result_may_be_a_tenth_worse_than_torchs(error, largest, passes):
    """The norm of the error may exceed torch's by a tenth, a single element by four times."""
    reason = LIMITS.breach(Deviation(error, largest))
    assert (reason == "") == passes


def test_a_longer_sum_is_not_excused():
    """A plain float32 sum fails where torch's blocked sum is more exact: the contract knows no order of summation."""
    torch.manual_seed(0)
    a, b = torch.randn(2000, 576), torch.randn(576)
    exact = a.double() @ b.double()

    def summed(block):
        parts = (a * b).view(2000, -1, block)
        total = torch.zeros(2000)
        for part in parts.unbind(1):
            inner = torch.zeros(2000)
            for product in part.unbind(1):
                inner += product
            total += inner
        apart = total.double() - exact
        return Deviation(float(apart.norm() / exact.norm()), float(apart.abs().max()))

    strict = Contract(summed(24), scale=float(exact.norm()) / math.sqrt(2000))
    assert strict.breach(summed(24)) == ""
    assert "error against float64" in strict.breach(summed(576))


def test_storing_is_excused():
    """Where torch's result is exact, half a unit in the last place is still allowed."""
    exact = Contract(Deviation(0.0, 0.0), scale=1.0)
    assert exact.breach(Deviation(2.9e-8, 1e-7)) == ""
    assert exact.breach(Deviation(3.1e-8, 1e-7)) != ""


@given(st.floats(1e-8, 1e-2), st.floats(1e-8, 1e-2))
def test_two_right_results_never_disagree(mine, theirs):
    """What the triangle inequality allows between two results near the exact one is no disagreement."""
    limits = Contract(Deviation(theirs, 5 * theirs), 1.0)
    apart = Deviation(mine + theirs, 5 * (mine + theirs))
    assert limits.disagrees(Deviation(mine, 5 * mine), apart) == ""
    assert limits.disagrees(Deviation(mine, 5 * mine), Deviation(0.0, 11 * (mine + theirs) + 1e-5)) != ""
    assert limits.disagrees(Deviation(mine, 5 * mine), Deviation(math.inf, math.inf)) != ""


@pytest.mark.parametrize("chunk", [1 << 27, 100, 1])
def test_whole_outputs_are_compared_in_chunks(monkeypatch, chunk):
    """Norm and largest difference are those of the whole, whatever the chunk and the layout."""
    monkeypatch.setattr(tolerance, "CHUNK", chunk)
    a = torch.randn(3, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    b = a.clone()
    b[2, 3, 4, 5] += 0.5
    found = disagreement(b, a)
    assert found.error == pytest.approx(0.5 / float(a.norm()), rel=1e-4)
    assert found.largest == pytest.approx(0.5, rel=1e-4)
    b[0, 0, 0, 0] = math.nan
    assert disagreement(b, a) == (math.inf, math.inf)


def test_empty_outputs_agree():
    """An output without elements is right."""
    assert disagreement(torch.empty(0, 3), torch.empty(0, 3)) == (0.0, 0.0)
