"""The bench on a CPU, with kernels that are plain functions."""

import types

import pytest
import torch
from fake_bench import PROBLEM, Clock, Config, exact

from tunedb.measure import bench as bench_module


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small problems on two busy cores spend their time on waking threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kernels(monkeypatch):
    """Install a kernel for each name of the dict; its value is its `run`."""
    runs = {"good": exact}
    real = bench_module.load

    def module(name):
        if name == "aten":
            return real(name)
        return types.SimpleNamespace(
            Config=Config,
            valid=lambda _problem, config, _device: "SIZE must not be 7" if config.SIZE == 7 else "",
            plan=lambda _problem, _config, launcher: launcher(runs[name]),
        )

    monkeypatch.setattr(bench_module, "load", module)
    return runs


@pytest.fixture
def bench(clock, kernels):
    made = bench_module.Bench(PROBLEM, 0, clock=clock, launcher=lambda run: run)
    yield made
    made.close()
