"""The error contract follows from the precision that a problem declares, not from what torch's library took that day."""

import math

import pytest
import torch
from fake_bench import CONFIG, PROBLEM, exact
from hypothesis import given
from hypothesis import strategies as st

from tunedb.measure import baseline, tolerance
from tunedb.measure import bench as bench_module
from tunedb.measure.reference import Deviation, Part, choose_part, reference, tf32_deviation
from tunedb.measure.tolerance import Contract
from tunedb.weights.layout import nearest_tf32

TF32 = PROBLEM._replace(precision="tf32")


def rounding(x, weight, bias, out):
    """A kernel that multiplies in TF32."""
    return exact(nearest_tf32(x), nearest_tf32(weight), bias, out)


def truncating(x, weight, bias, out):
    """A kernel that leaves the rounding to a matrix unit, which drops bits."""
    cut = [(one.view(torch.int32) & -0x2000).view(torch.float32) for one in (x, weight)]
    return exact(*cut, bias, out)


def coarse(x, weight, bias, out):
    """A kernel in TF32 whose input loses one bit more."""
    coarser = ((x.view(torch.int32) + 0x2000) & -0x4000).view(torch.float32)
    return exact(coarser, nearest_tf32(weight), bias, out)


def one_element(x, weight, bias, out):
    """A kernel in TF32 that leaves one element wrong by more than TF32 can be."""
    rounding(x, weight, bias, out)[1, 2, 3, 4] += 5e-3
    return out


def clipping(x, weight, bias, out):
    """A kernel in TF32 that is right for inputs of ordinary size only."""
    return rounding(x.clamp(-6, 6), weight, bias, out)


@pytest.fixture
def benches(kernels, clock):
    """Make a bench of the small problem in a precision; torch is exact on a CPU, as cuDNN sometimes is."""
    kernels.update(rounding=rounding, truncating=truncating, coarse=coarse, one_element=one_element, clipping=clipping)  # fmt: skip
    made = []

    def of(precision):
        made.append(
            bench_module.Bench(
                PROBLEM._replace(precision=precision), 0, clock=clock, launcher=lambda run: run
            )
        )
        return made[-1]

    yield of
    for bench in made:
        bench.close()


def test_tf32_is_right_where_it_is_declared_though_torch_was_exact(benches):
    """A candidate in TF32 passes its trial, and its final with the input of another scale, where torch has a thousandth of its error."""
    bench = benches("tf32")
    measured = bench.trial("rounding", CONFIG)
    assert (measured.status, measured.detail) == ("ok", "")
    assert bench.aten_error < 1e-6
    assert measured.error > 1e-4
    final = bench.final([("rounding", CONFIG), ("good", CONFIG)])
    assert [one.status for one in final] == ["ok", "ok", "ok"], final


def test_tf32_is_wrong_where_ieee_is_declared(benches):
    """The same candidate is refused where exact products are declared."""
    bench = benches("ieee")
    measured = bench.trial("rounding", CONFIG)
    assert measured.status == "wrong"
    assert "error against float64" in measured.detail
    assert "TF32" not in measured.detail
    assert bench.trial("good", CONFIG).status == "ok"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncating", "error against float64"),
        ("coarse", "error against float64"),
        ("one_element", "no element"),
    ],
)
def test_what_is_worse_than_tf32_is_wrong(benches, name, reason):
    """Truncation, a coarser factor and one bad element exceed what TF32 gives, and the reason names both errors."""
    measured = benches("tf32").trial(name, CONFIG)
    assert measured.status == "wrong"
    assert reason in measured.detail
    assert "TF32's" in measured.detail


def test_an_input_of_another_scale_has_the_same_limit(benches):
    """A kernel in TF32 that clips large numbers passes its trial and falls in the final."""
    bench = benches("tf32")
    assert bench.trial("clipping", CONFIG).status == "ok"
    _, clipped, right = bench.final([("clipping", CONFIG), ("rounding", CONFIG)])
    assert (clipped.status, right.status) == ("wrong", "ok")
    assert "16 times as large" in clipped.detail


def test_what_torch_took_changes_no_verdict(monkeypatch, benches):
    """The limits are the same to a part in a thousand whether torch multiplied in TF32, exactly, or each in one of its modes."""
    real = baseline.Yardstick._call
    limits = []
    for modes in ((), (True,), (True, False)):

        def call(self, searched, modes=modes):
            def run():
                x, weight, bias = self._of_mode[searched]
                return rounding(x, weight, bias, self.output())

            return run if searched in modes else real(self, searched)

        monkeypatch.setattr(baseline.Yardstick, "_call", call)
        bench = benches("tf32")
        assert [bench.trial(name, CONFIG).status for name in ("rounding", "good", "truncating")] == ["ok", "ok", "wrong"]  # fmt: skip
        assert (bench.aten_error > 1e-4) == bool(modes)
        limits.append(bench._yardstick._reference.contract.error_limit)
    assert limits == pytest.approx([limits[0]] * 3, rel=1e-3)


def test_elements_without_a_reference_may_be_as_far_from_torchs_as_both_errors(monkeypatch, benches):
    """A candidate in TF32 agrees with torch's exact output beyond the part that float64 covers; a mistake there is found."""
    monkeypatch.setattr(baseline, "choose_part", lambda *_: Part((0, 2), (0, 1), (0, 3)))
    bench = benches("tf32")
    assert bench.trial("rounding", CONFIG).status == "ok"
    measured = bench.trial("one_element", CONFIG)  # in sample 1
    assert measured.status == "wrong"
    assert "whole output" in measured.detail


@pytest.mark.parametrize("torchs", [0.0, 1e-7, 2.9e-4, 6e-4])
def test_the_limit_is_tf32s_or_torchs_where_that_is_larger(torchs):
    """Whatever torch took, up to the error of TF32 the limit is the same; a torch that is worse raises it."""
    limits = Contract(Deviation(torchs, 8 * torchs), 1.0, tf32=Deviation(3e-4, 2e-3))
    expected = max(torchs, 3e-4)
    assert limits.error_limit == pytest.approx(1.1 * expected)
    assert limits.largest_limit == pytest.approx(4 * max(8 * torchs, 2e-3))
    assert limits.breach(Deviation(1.09 * expected, 1e-3)) == ""
    assert limits.breach(Deviation(1.11 * expected, 1e-3)) != ""


@given(st.floats(1e-5, 3.3e-4), st.floats(1e-9, 1e-6))
def test_a_whole_output_in_tf32_agrees_with_an_exact_one(mine, theirs):
    """The two may be as far apart as the sum of their errors, and a candidate that is further off elsewhere is found."""
    limits = Contract(Deviation(theirs, 5 * theirs), 1.0, tf32=Deviation(3e-4, 1.5e-3))
    found = Deviation(mine, 5 * mine)
    assert limits.disagrees(found, Deviation(mine + theirs, 5 * (mine + theirs))) == ""
    assert limits.disagrees(found, Deviation(3 * mine + 3 * theirs + 1e-7, 0.0)) != ""
    assert limits.disagrees(found, Deviation(0.0, 11 * (mine + theirs) + 1e-5)) != ""


def test_the_error_of_tf32_is_that_of_rounded_factors():
    """It is what a float64 convolution of the rounded input and weight gives, on any part, and the bias is not rounded."""
    x, weight, bias = tensors = baseline.make_tensors(TF32, torch.device("cpu"))
    part = choose_part(TF32)
    for some in (part, part._replace(samples=(0, 2), channels=(0, 3))):
        found = tf32_deviation(TF32, *tensors, some, reference(TF32, *tensors, some))
        ours = reference(TF32, nearest_tf32(x), nearest_tf32(weight), bias, some)
        theirs = reference(TF32, *tensors, some)
        assert found.error == pytest.approx(float((ours - theirs).norm() / theirs.norm()))
        assert found.largest == pytest.approx(float((ours - theirs).abs().max()))
        assert 1e-4 < found.error < 4e-4
    unrounded = tensors._replace(x=nearest_tf32(x), weight=nearest_tf32(weight))
    assert tf32_deviation(TF32, *unrounded, part, reference(TF32, *unrounded, part)) == (0.0, 0.0)


@pytest.mark.parametrize(("precision", "times"), [("ieee", 0), ("tf32", 1)])
def test_the_error_of_tf32_is_computed_once_and_where_it_counts(monkeypatch, benches, precision, times):
    """A look at torch's time does not pay for it, trials and a final share it, and a problem without TF32 never needs it."""
    made = []
    real = baseline.tf32_deviation
    monkeypatch.setattr(baseline, "tf32_deviation", lambda *tensors: made.append(1) or real(*tensors))
    bench = benches(precision)
    assert bench.aten_us > 0
    assert made == []
    bench.trial("good", CONFIG)
    bench.trial("rounding", CONFIG)
    bench.final([("good", CONFIG)])
    assert made == [1] * times


def test_a_contract_without_tf32_is_torchs_alone():
    """Where nothing else is declared, torch's own error is all that is permitted."""
    limits = Contract(Deviation(1e-7, 5e-7), 1.0)
    assert limits.tf32 == tolerance.NOTHING
    assert limits.permitted == limits.aten
    assert limits.error_limit == pytest.approx(1.1e-7)
    assert limits.breach(Deviation(math.inf, math.inf)) != ""
