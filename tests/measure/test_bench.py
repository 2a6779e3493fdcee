"""The bench's logic on the CPU: what is verified, what is timed, and what a failure is called."""

import math

import pytest
import torch
from fake_bench import CONFIG, PROBLEM, Clock, Config, exact

from tunedb import launch
from tunedb.device import as_arch, by_slug, current
from tunedb.kernel import config_to_json, load
from tunedb.measure import baseline
from tunedb.measure import bench as bench_module
from tunedb.measure.reference import Part


def test_torch_is_measured_when_a_problem_is_set_up(bench):
    """A bench knows torch's time, torch's error and the hardware floor before any trial."""
    assert bench.aten_us > 0
    assert 1e-9 < bench.aten_error < 1e-6
    assert bench.floor_us > 0
    assert bench.trial("aten", "{}").time_us == bench.aten_us


def test_a_look_at_torchs_time_needs_no_reference(monkeypatch, kernels, clock):
    """Nothing is computed in float64 until a trial, a final or torch's error asks for it; then it is made once."""
    made = []
    real = baseline.reference
    monkeypatch.setattr(baseline, "reference", lambda *given: made.append(1) or real(*given))
    bench = bench_module.Bench(PROBLEM, 0, clock=clock, launcher=lambda run: run)
    assert bench.aten_us > 0
    assert made == []
    assert bench.trial("good", CONFIG).status == "ok"
    bench.final([("good", CONFIG)])
    assert bench.aten_error > 0
    assert made == [1]


def test_a_right_candidate_is_verified_and_timed(bench):
    """A right candidate gets its error and a median between its percentiles."""
    measured = bench.trial("good", CONFIG)
    assert (measured.status, measured.detail) == ("ok", "")
    assert 0 < measured.time_us_low <= measured.time_us <= measured.time_us_high
    assert 0 < measured.error < bench.aten_error * 1.1


def unwritten(x, weight, bias, out):
    last = out[-1, -1, -1, -1].clone()
    exact(x, weight, bias, out)[-1, -1, -1, -1] = last
    return out


def one_element(x, weight, bias, out):
    exact(x, weight, bias, out)[1, 2, 3, 4] += 3e-6
    return out


def noisy(x, weight, bias, out):
    noise = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return exact(x, weight, bias, out).add_(noise, alpha=2e-6)


def other_layout(x, weight, bias, out):
    return exact(x, weight, bias, out).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (unwritten, "NaN"),
        (one_element, "no element"),
        (noisy, "error against float64"),
        (other_layout, "strides"),
    ],
)
def test_a_wrong_candidate_is_never_timed(bench, kernels, clock, run, reason):
    """Unwritten elements, one bad element, too much noise and a wrong layout are each found, with the reason."""
    kernels["bad"] = run
    before = len(clock.repetitions)
    measured = bench.trial("bad", CONFIG)
    assert measured.status == "wrong"
    assert reason in measured.detail
    assert measured.time_us is None
    assert len(clock.repetitions) == before


def test_elements_without_a_reference_are_checked_too(monkeypatch, kernels, clock):
    """A mistake in a sample that float64 did not cover is found by comparison with torch's output."""
    monkeypatch.setattr(baseline, "choose_part", lambda *_: Part((0, 2), (0, 1), (0, 3)))
    bench = bench_module.Bench(PROBLEM, 0, clock=clock, launcher=lambda run: run)
    kernels["bad"] = one_element  # sample 1
    assert bench.trial("good", CONFIG).status == "ok"
    measured = bench.trial("bad", CONFIG)
    assert measured.status == "wrong"
    assert "whole output" in measured.detail


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_layouts_and_types_are_the_problems(kernels, clock, layout, dtype):
    """Tensors are made in the problem's type and layout, and 16-bit results stay within the contract."""
    seen = []

    def look(x, weight, bias, out):
        seen.append((x, weight, out))
        return exact(x, weight, bias, out)

    kernels["look"] = look
    problem = PROBLEM._replace(dtype=dtype, layout=layout)
    bench = bench_module.Bench(problem, 0, clock=clock, launcher=lambda run: run)
    assert bench.trial("look", CONFIG).status == "ok"
    for tensor in seen[0]:
        assert tensor.dtype == getattr(torch, dtype)
        assert tensor.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")


def test_the_same_tensors_every_time(clock, kernels):
    """Two benches of a problem have equal tensors, so that their times and errors can be compared."""
    first, second = (
        bench_module.Bench(PROBLEM, 0, clock=Clock(), launcher=lambda run: run) for _ in range(2)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(first._yardstick.tensors, second._yardstick.tensors, strict=True)
    )
    assert first.aten_error == second.aten_error


def test_a_hopeless_candidate_is_timed_once(bench, kernels, clock, monkeypatch):
    """A first repetition of more than four times the best ends the timing, of a quick one a second; others get 3 to 10."""
    bench._best_us = 1e-3
    del clock.repetitions[:]
    assert bench.trial("good", CONFIG).status == "ok"
    assert clock.repetitions == [(1, 1), (1, 1)]
    monkeypatch.setattr(bench_module, "QUICK_US", 0.0)
    del clock.repetitions[:]
    assert bench.trial("good", CONFIG).status == "ok"
    assert clock.repetitions == [(1, 1)]
    bench._best_us = 1e9
    del clock.repetitions[:]
    bench.trial("good", CONFIG)
    assert clock.repetitions[0] == (1, 1)
    assert 3 <= sum(rounds for _, rounds in clock.repetitions) <= 10


def test_one_disturbed_repetition_costs_a_candidate_nothing(bench, clock, monkeypatch):
    """Where the second is not hopeless it is timed as others are, and the disturbed one does not count."""
    bench._best_us = 6.0
    asked = []

    def times_us(calls, rounds):
        asked.append(rounds)
        calls[0]()
        return [[353.0]] if len(asked) == 1 else [[5.6] * rounds]

    monkeypatch.setattr(clock, "times_us", times_us)
    measured = bench.trial("good", CONFIG)
    assert (measured.time_us, measured.time_us_high) == (5.6, 5.6)
    assert asked[:2] == [1, 1]
    assert sum(asked) - 1 == measured.rounds > 2


def test_the_best_so_far_only_falls(bench):
    """The bar for hopeless candidates is the best time seen, torch's included."""
    assert bench._best_us == bench.aten_us
    bench._best_us = 1e9
    measured = bench.trial("good", CONFIG)
    assert bench._best_us == measured.time_us


def test_the_final_has_torch_first(bench, kernels, clock, monkeypatch):
    """Torch leads the list whether or not it is a candidate; the others keep their order, failures included."""
    monkeypatch.setattr(bench_module, "is_wide", lambda _: False)
    kernels["bad"] = unwritten
    del clock.repetitions[:]
    candidates = [
        ("good", CONFIG),
        ("bad", CONFIG),
        ("aten", "{}"),
        ("good", config_to_json(Config(7, 4))),
        ("good", CONFIG),
    ]
    measured = bench.final(candidates)
    assert [one.status for one in measured] == ["ok", "ok", "wrong", "invalid", "ok"]
    assert measured[0].error >= bench.aten_error
    assert [one.time_us is not None for one in measured] == [True, True, False, False, True]
    assert {calls for calls, _ in clock.repetitions} == {3}
    assert 7 <= sum(rounds for _, rounds in clock.repetitions) <= 40


def test_wide_spreads_are_repeated(bench, clock, monkeypatch):
    """Where times differ too much a final is made longer, twice at most, and the record says of how many repetitions it is."""
    answers = [True, False]
    monkeypatch.setattr(bench_module, "is_wide", lambda _: answers.pop(0) if answers else False)
    clock.repetitions.clear()
    measured = bench.final([("good", CONFIG)])
    rounds = [count for _, count in clock.repetitions]
    assert rounds[2:] == [rounds[1] + 1]
    assert measured[1].rounds == sum(rounds)
    monkeypatch.setattr(bench_module, "is_wide", lambda _: True)
    clock.repetitions.clear()
    bench.final([("good", CONFIG)])
    assert len(clock.repetitions) == 4


def test_a_final_of_nobody_is_torchs_own_time(bench):
    """With no candidate the final measures torch alone."""
    (alone,) = bench.final([])
    assert alone.status == "ok"
    assert alone.time_us > 0


def test_precision_settings_are_restored(bench):
    """Timing torch leaves the process's cuDNN settings as they were."""
    from torch.backends import cudnn

    before = cudnn.benchmark, cudnn.allow_tf32
    bench.final([])
    assert (cudnn.benchmark, cudnn.allow_tf32) == before


@pytest.mark.parametrize(("slug", "arch"), [("h200", None), ("h200-sm89", "sm89")])
def test_candidates_run_the_code_of_their_device(kernels, clock, monkeypatch, slug, arch):
    """Whose code is launched, and against what a config is valid, follows from the device that is tuned for."""
    launched, judged = [], []
    monkeypatch.setattr(launch, "launcher", lambda run, arch=None: launched.append(arch) or run)
    module = bench_module.load("good")
    module.valid = lambda _problem, _config, device: judged.append(device.slug) or ""
    monkeypatch.setattr(bench_module, "load", lambda _: module)
    clock.device = by_slug(slug)
    bench = bench_module.Bench(PROBLEM, 0, clock=clock)
    assert bench.trial("good", CONFIG).status == "ok"
    assert (launched, judged) == ([arch], [slug])
    assert bench.floor_us == bench_module.floor_us(PROBLEM, by_slug("h200"))


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0),
    reason="needs Hopper or newer",
)
def test_older_code_runs_on_a_gpu():
    """On a newer GPU Ada's code of a real kernel loads, and its result is right."""
    launch.clear()
    device = as_arch(current(0), "sm89")
    problem = PROBLEM._replace(groups=1, dtype="float16", precision="ieee")  # torch may take IEEE for float32
    bench = bench_module.Bench(problem, 0, device=device)
    config = config_to_json(load("implicit_gemm").default(problem, device))
    measured = bench.trial("implicit_gemm", config)
    assert measured.status == "ok", measured.detail
    assert "sm89" in {key[-1] for key in launch._handles}
    bench.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kernel", ["aten", "good"])
def test_on_a_gpu_nothing_is_left_behind(kernels, kernel):
    """On a GPU a trial verifies, times and frees all that it took; a second bench starts as the first did."""
    start = torch.cuda.memory_allocated()
    for _ in range(2):
        bench = bench_module.Bench(PROBLEM._replace(n=64, precision="tf32"), 0, launcher=lambda run: run)
        config = CONFIG if kernel == "good" else "{}"
        measured = bench.trial(kernel, config)
        assert measured.status == "ok", measured.detail
        assert math.isfinite(measured.time_us)
        finals = bench.final([(kernel, config)])
        assert finals[0].time_us == pytest.approx(bench.aten_us, rel=0.5)
        bench.close()
        del bench
    assert torch.cuda.memory_allocated() - start <= 256 << 20  # cuBLAS keeps its workspace
