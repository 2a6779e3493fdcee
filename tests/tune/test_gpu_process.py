import landscape
import pytest

from tunedb.device import by_slug
from tunedb.tune.gpu_process import BenchError, Limits, PrepareError, Runner

LIMITS = Limits(prepare_s=20.0, trial_s=1.0, final_s=1.0)
FINE, SLOW = ("hostile", '{"MODE":"fine"}'), ("hostile", '{"MODE":"slow"}')


def mode(name):
    return ("hostile", f'{{"MODE":"{name}"}}')


@pytest.fixture(scope="module")
def runner():
    opened = Runner(0, by_slug("h200"), bench="landscape:Bench", limits=LIMITS)
    yield opened
    opened.close()


def test_a_crash_and_a_hang_cost_one_trial_each(runner):
    """After a crash or a hang the next trial is measured by a new process."""
    assert runner.prepare(landscape.problem("conv1d", c_out=120)) == (120.0, 1e-4)
    found = [runner.trial(*mode(name)) for name in ("fine", "crash", "hang", "wrong", "fine")]
    assert [measured.status for measured in found] == ["ok", "crashed", "timed-out", "wrong", "ok"]
    assert "exit status 7" in found[1].detail
    assert "longer than 1 s" in found[2].detail


def test_a_look_does_not_ask_for_torchs_error(runner):
    """Where only torch's time is asked for, the bench is not asked for what it must compute in float64."""
    assert runner.prepare(landscape.problem("conv1d", c_out=120), look=True) == (120.0, None)


def test_a_final_that_crashes_is_repeated_one_by_one(runner):
    """The finalist that crashes has its status, torch and the others keep their times."""
    runner.prepare(landscape.problem("conv1d", c_out=120))
    aten, fine, crash, slow = runner.final([FINE, mode("crash"), SLOW])
    assert (aten.time_us, fine.time_us, slow.time_us) == (120.0, 90.0, 200.0)
    assert crash.status == "crashed"
    assert [measured.time_us for measured in runner.final([])] == [120.0]


def test_a_problem_that_cannot_be_prepared_says_why(runner):
    """A crash in prepare raises PrepareError, and the next problem can be prepared."""
    with pytest.raises(PrepareError, match="exit status 3") as caught:
        runner.prepare(landscape.problem("conv_transpose1d"))
    assert caught.value.state == "failed"
    assert runner.prepare(landscape.problem("conv2d")).aten_us == 1000.0


def test_a_programming_error_is_loud(runner):
    """An error of the bench's own code carries its traceback and is no status."""
    with pytest.raises(BenchError, match="a bench that was written wrongly"):
        runner.prepare(landscape.problem("conv_transpose3d"))
    assert runner.environment("landscape:environment") == landscape.ENVIRONMENT


@pytest.mark.parametrize(
    ("visible", "gpu", "expected"), [("", 3, "3"), ("4,6", 1, "6"), ("GPU-aa, GPU-bb", 0, "GPU-aa")]
)
def test_the_gpu_is_named_as_the_parent_sees_it(monkeypatch, visible, gpu, expected):
    """A GPU's number counts among those that are visible to the sweep."""
    from tunedb.tune.gpu_process import _visible

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _visible(gpu) == expected


class FakeAcceleratorError(RuntimeError):
    pass


FakeAcceleratorError.__name__ = "AcceleratorError"


class OutOfMemoryError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("CUDA out of memory"), ("out-of-resources", False)),
        (FakeAcceleratorError("an illegal memory access"), ("crashed", True)),
        (RuntimeError("Triton Error [CUDA]: misaligned address"), ("crashed", True)),
        (RuntimeError("shape mismatch"), None),
        (TypeError("CUDA"), None),
    ],
)
def test_only_the_gpus_failures_are_statuses(error, expected):
    """Memory and context failures are the GPU's; anything else is a bug of ours."""
    from tunedb.tune.gpu_process import _failure

    found = _failure(error)
    assert (found and (found.status, found.poisoned)) == expected
