"""Times of GPUs that are not here: by the time model, moved from a proxy, and torch's."""

import math

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.device.sustained import sustained
from tunedb.dispatch.unseen.features import KERNELS
from tunedb.kernel import config_to_json, load
from tunedb.record import Measurement
from tunedb.suite import load_suite
from tunedb.tune.predict import expected as module
from tunedb.tune.predict import torch_time
from tunedb.tune.predict.expected import SIGMA, expected, no_less, reached
from tunedb.tune.predict.proxies import PROXY, timed
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.time_model import COLUMNS, features, time_model

LAYERS = {entry.id: entry for entry in load_suite("kernelbench")}
NEEDS = Measurement("ok", shared=32768, registers=128, spills=0)
H200, H100, ADA = by_slug("h200"), by_slug("h100"), by_slug("4090")


def problem(name="kb57", dtype="float32"):
    return LAYERS[name].problem(dtype, "tf32" if dtype == "float32" else "ieee")


def test_rates_that_are_sustained():
    """Measured ones stay; Hopper's datasheet is worth what the H200's is, and older code what its instructions reach."""
    assert sustained(H200) == H200
    assert sustained(H100).half_rate == pytest.approx(0.728 * 989e12)
    assert sustained(by_slug("h200-sm89")).half_rate == pytest.approx(0.62 * 989e12, rel=1e-3)
    assert sustained(by_slug("h100-sm89")).half_rate == pytest.approx(0.62 * 989e12)
    assert sustained(ADA).bandwidth == pytest.approx(954e9, rel=1e-3)


def test_moved_times():
    """A time that is all memory goes by bandwidths, one that has none by multiprocessors and clocks; GeForce's tensor cores cost more."""
    asked = problem()
    memory = 1e6 * asked.bytes / sustained(H200).bandwidth
    assert moved_us(memory, asked, H200, H100) == pytest.approx(memory * 4300 / (0.896 * 3350), rel=0.01)
    assert moved_us(10 * memory, asked, H200, H200) == pytest.approx(10 * memory)
    l40s = by_slug("l40s")
    there = moved_us(20000.0, asked, l40s, ADA) - moved_us(
        20000.0, asked._replace(precision="ieee"), l40s, ADA
    )
    assert there > 0


def test_a_config_that_was_timed_on_a_proxy():
    """Its time is moved by the facts of both GPUs, the order of a problem's configs stays, and the detail says from where."""
    asked = problem()
    choice, there = next(iter(timed(asked, ADA).items()))
    assert there.device.slug == "h100-sm89"
    found = expected(asked, *choice, NEEDS, ADA)
    moved = moved_us(there.us, asked, there.device, ADA)
    assert moved < found.time_us < 1.1 * moved
    times = [expected(asked, *one, NEEDS, ADA).time_us for one in timed(asked, ADA)]
    assert times == sorted(times)
    assert found.detail == f"{PROXY}h100-sm89, which takes {there.us:.4g} us"
    assert math.log2(found.time_us_high / found.time_us) == pytest.approx(0.8416 * SIGMA["proxy"])
    assert (found.shared, found.registers, found.spills) == (32768, 128, 0)


def test_proxies_run_code_of_the_same_kind():
    """An H100 running sm_89 code stands for Ada and Ampere, an H200 for an H100 and never for an RTX 4090."""
    asked = problem()
    assert {one.device.slug for one in timed(asked, by_slug("3090")).values()} == {"h100-sm89"}
    assert {one.device.slug for one in timed(asked, H100).values()} == {"h200"}


def test_spills_make_a_config_slower(monkeypatch):
    """By what the time model says of each byte; moved from a proxy they do not, since the proxy spilled as much."""
    asked, spilled = problem(), NEEDS._replace(spills=200)
    choice = next(iter(timed(asked, ADA)))
    assert expected(asked, *choice, spilled, ADA).time_us == pytest.approx(
        expected(asked, *choice, NEEDS, ADA).time_us
    )
    monkeypatch.setattr(module, "timed", lambda *_: {})
    without, more = (expected(asked, *choice, one, ADA).time_us for one in (NEEDS, spilled))
    assert more / without == pytest.approx(2 ** (200 * time_model().facts["spill"]), rel=0.01)


def test_a_config_that_nobody_timed(monkeypatch):
    """It takes what the time model says, and more because the best of many is chosen for its luck too."""
    monkeypatch.setattr(module, "timed", lambda *_: {})
    asked, kernel = problem(), load("implicit_gemm")
    config = kernel.default(asked, ADA)
    found = expected(asked, "implicit_gemm", config_to_json(config), NEEDS, ADA)
    said = 2 ** module.expected_log(time_model(), asked, ADA, "implicit_gemm", config)
    assert found.time_us == pytest.approx(said * time_model().facts["chosen"], rel=0.01)
    assert (found.detail, math.log2(found.time_us_high / found.time_us)) == (
        "",
        pytest.approx(0.8416 * SIGMA["model"]),
    )


@pytest.mark.parametrize("slug", ["4090", "l4", "3090", "h100"])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_no_time_is_shorter_than_code_of_its_kind_ever_was(slug, name):
    """Defaults of every kernel take at least the sustained floor over the largest share that was measured."""
    device = by_slug(slug)
    for dtype in ("float32", "float16"):
        asked = problem(name, dtype)
        for one in KERNELS:
            kernel = load(one)
            config = (
                kernel.default(asked, device)
                if asked.op in kernel.OPS and kernel.space(asked, device)
                else None
            )
            if config is None or kernel.valid(asked, config, device):
                continue
            least = floor_us(asked, sustained(device)) / reached(time_model().facts, asked, one, device)
            assert expected(asked, one, config_to_json(config), NEEDS, device).time_us >= least * (1 - 1e-9)


def test_the_bandwidth_is_no_feature():
    """It would name one of three devices; the same ratios on another device are the same features."""
    asked, kernel = problem(), load("implicit_gemm")
    config = kernel.default(asked, ADA)
    twice = ADA._replace(
        **{name: 2 * getattr(ADA, name) for name in ("bandwidth", "tf32_rate", "half_rate", "fp32_rate")}
    )
    once, again = (features(asked, device, "implicit_gemm", config) for device in (ADA, twice))
    assert len(once) == COLUMNS["time"]
    assert sum(a != pytest.approx(b) for a, b in zip(once, again, strict=True)) < 12


def test_torch_on_hopper_and_on_ada():
    """An H100's time is the H200's, moved; an L4 is slower than an L40S, by what its facts say and then some."""
    asked = problem()
    known = torch_time._on_hopper(asked)
    assert torch_time.torch_us(asked, H200) == pytest.approx(known)
    assert torch_time.torch_us(asked, H100) == pytest.approx(moved_us(known, asked, H200, H100))
    assert torch_time.torch_us(asked, by_slug("h100-sm89")) == torch_time.torch_us(asked, H100)
    l40s, l4 = (torch_time.torch_us(asked, by_slug(slug)) for slug in ("l40s", "l4"))
    assert 2.5 < l4 / l40s < 5
    assert torch_time.torch_us(problem("kb84", "float16"), ADA) >= floor_us(problem("kb84", "float16"), ADA)


def test_torch_where_nothing_was_swept(monkeypatch):
    """The predictor's expectation for the H200 is what is moved; without a predictor nothing is known."""
    asked = problem()._replace(c_in=61, c_out=67)
    found = torch_time.torch_us(asked, ADA)
    assert found > floor_us(asked, ADA)
    monkeypatch.setattr(torch_time, "shipped_predictor", lambda: None)
    assert torch_time.torch_us(asked, ADA) is None


def test_what_is_near_a_bound_keeps_its_order():
    """No time is below the bound, far from it nothing changes, and of two times below it the longer stays the longer."""
    assert no_less(100.0, 10.0) == pytest.approx(100.0)
    assert no_less(10.0, 10.0) == pytest.approx(10.9, rel=0.01)
    times = [no_less(us, 100.0) for us in (40.0, 80.0, 99.0, 120.0)]
    assert times == sorted(times)
    assert len(set(times)) == 4
    assert times[0] > 100.0
