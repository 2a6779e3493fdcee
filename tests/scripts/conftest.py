"""A kernel with faults on request, and the columns of a benchmark measured with it on a CPU."""

import json
import types

import pytest
from fake_bench import CONFIG, PROBLEM, Config, exact
from fake_columns import H200, SMALL, Kernel

from tunedb.errors import KernelError
from tunedb.kernel import source_hash
from tunedb.measure.timing import WallClock


@pytest.fixture
def kernel(monkeypatch):
    """A kernel named fake wherever kernels are loaded by name."""
    from tunedb import kernel as protocol

    real, real_hash, fake = protocol.load, protocol.source_hash, Kernel()
    monkeypatch.setattr(protocol, "load", lambda name: fake if name == "fake" else real(name))

    def hashed(name):
        if name not in {"fake", "aten"}:
            raise KernelError(f"kernel must be one of aten, fake, but got {name!r}.")
        return "new" if name == "fake" else real_hash(name)

    monkeypatch.setattr(protocol, "source_hash", hashed)
    return fake


@pytest.fixture
def columns(scripts, shelf, record, kernel):
    """Measure SMALL with given answers of databases; what is dispatched is torch's own."""
    shelf.put(record._replace(problem=SMALL, kernel="aten", config="{}", kernel_hash=source_hash("aten")))
    module = scripts("bench.columns")

    def measured(compile_s=None, **answers):
        return module.measured(
            "small", SMALL, WallClock(H200), answers, slug="h200", compile_s=compile_s
        )  # fmt: skip

    return measured


@pytest.fixture
def fake(scripts):
    def stored(fault="", arch=None):
        return scripts("bench.sources").Stored("fake", json.dumps({"BLOCK": 1, "FAULT": fault}), arch)

    return stored


@pytest.fixture
def launches(scripts, monkeypatch):
    """Return a function that judges a plain function as a kernel, as the fuzzing of kernels does."""
    module = scripts("fuzz.launches")
    real = module.load
    # Torch's own error would be that of this machine's CPU: here it rounds once.
    monkeypatch.setattr(module, "_of_torch", lambda _, tensors: exact(*tensors, module.empty_output(PROBLEM, tensors[0].device)))  # fmt: skip

    def judged(run, problem=PROBLEM):
        kernel = types.SimpleNamespace(Config=Config, valid=lambda *_: "", plan=lambda *_: run)
        monkeypatch.setattr(module, "load", lambda name: real(name) if name == "aten" else kernel)
        return module.Launches(problem, 0).trial("fake", CONFIG)

    return judged
