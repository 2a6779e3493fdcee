"""What a failing candidate costs: its own trial where the GPU survives, the process where it does not."""

import types

import pytest
import torch
from fake_bench import CONFIG, Config, exact

from tunedb.kernel import config_to_json
from tunedb.measure import bench as bench_module


def raising(error):
    def run(x, weight, bias, out):
        raise error

    return run


def out_of_shared_memory():
    from triton.runtime.errors import OutOfResources

    return OutOfResources(300000, 232448, "shared memory")


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "out-of-resources", "9 GiB"),
        (out_of_shared_memory(), "out-of-resources", "232448"),
        (RuntimeError("PassManager::run failed"), "compile-error", "PassManager"),
        (RuntimeError("Triton Error [CUDA]: invalid argument"), "out-of-resources", "invalid argument"),
    ],
)
def test_a_failure_that_the_gpu_survives_is_one_lost_trial(bench, kernels, error, status, detail):
    """Memory, shared memory, compilation and a refused launch each cost one trial; the next one runs."""
    kernels["bad"] = raising(error)
    measured = bench.trial("bad", CONFIG)
    assert measured.status == status
    assert detail in measured.detail
    assert bench.trial("good", CONFIG).status == "ok"


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_a_lost_context_is_poisoned(bench, kernels, clock, kind):
    """After an illegal access the context is lost: the process must end, and is told so."""
    clock.lost = True
    kernels["bad"] = raising(kind("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(bench_module.PoisonedError, match=r"CUDA context is lost.*illegal memory access"):
        bench.trial("bad", CONFIG)


@pytest.mark.parametrize(
    "error", [TypeError("bad call"), KeyError("x"), RuntimeError("shapes do not match"), ZeroDivisionError()]
)
def test_errors_of_our_own_propagate(bench, kernels, error):
    """A programming error is nobody's lost trial."""
    kernels["bad"] = raising(error)
    with pytest.raises(type(error)):
        bench.trial("bad", CONFIG)


@pytest.mark.parametrize("config", [config_to_json(Config(7, 4)), '{"SIZE": 7}', "nonsense"])
def test_an_invalid_config_is_not_run(bench, kernels, config):
    """What `valid` refuses, and what is not a config at all, never reaches the GPU."""
    kernels["good"] = raising(AssertionError("run"))
    assert bench.trial("good", config).status == "invalid"


def test_a_kernel_that_leaves_memory_behind_is_refused(bench, clock, kernels):
    """Memory that outlives a trial is named with its size; the next candidate is not blamed for it."""

    def leak(x, weight, bias, out):
        clock.bytes = 1512
        return exact(x, weight, bias, out)

    kernels["leak"] = leak
    measured = bench.trial("leak", CONFIG)
    assert (measured.status, measured.detail) == ("wrong", "it left 512 bytes of GPU memory behind")
    assert bench.trial("good", CONFIG).status == "ok"

    def leak_wrongly(x, weight, bias, out):
        clock.bytes = 2000
        return exact(x, weight, bias, out).add_(1)

    kernels["both"] = leak_wrongly
    detail = bench.trial("both", CONFIG).detail
    assert "error against float64" in detail
    assert detail.endswith("; it left 488 bytes of GPU memory behind")
    clock.bytes = 1000
    assert [one.status for one in bench.final([("good", CONFIG), ("leak", CONFIG)])] == ["ok", "ok", "ok"]
    clock.bytes, kernels["leak"] = 5000, exact
    assert [one.status for one in bench.final([("good", CONFIG), ("leak", CONFIG)])] == [
        "ok",
        "wrong",
        "wrong",
    ]


def test_packed_weights_are_dropped_after_a_trial(bench, kernels):
    """A plan's packed weights do not wait for the garbage collector."""
    cleared = []

    def packing(x, weight, bias, out):
        return exact(x, weight, bias, out)

    packing.packer = types.SimpleNamespace(clear=lambda: cleared.append(1))
    kernels["packing"] = packing
    bench.trial("packing", CONFIG)
    assert cleared == [1]
    bench.final([("packing", CONFIG)])
    assert cleared == [1, 1]
