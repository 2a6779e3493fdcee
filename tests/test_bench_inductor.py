"""torch.compile's column: what it is asked for, and that it neither hangs nor fails a run."""

import contextlib
import importlib
import time
from pathlib import Path

import pytest
import torch

from tunedb.device import by_slug
from tunedb.problem import Problem
from tunedb.timing import WallClock
from tunedb.yardstick import Yardstick

SMALL = Problem(
    "conv_transpose2d", "float32", "ieee", "channels_first", 2, 4, 6, 1, 1,
    *(1, 5, 7), *(1, 3, 3), *(1, 2, 2), *(0, 1, 1), *(0, 1, 0), *(1, 1, 1),
)  # fmt: skip
H200 = by_slug("h200")


@pytest.fixture
def script(monkeypatch):
    """Import a script by name, its siblings beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    return importlib.import_module


def test_templates_are_for_forward_problems_without_dilation(script):
    """Inductor is asked for what its templates can do only."""
    templated = script("bench_inductor").templated
    forward = SMALL._replace(op="conv2d")
    assert templated(forward)
    assert templated(forward._replace(op="conv3d"))
    assert not templated(SMALL)
    assert not templated(forward._replace(dilation_w=2))
    assert not templated(forward._replace(op="conv1d"))


def test_a_slow_compilation_is_ended(script, monkeypatch):
    """torch.compile is interrupted at its limit, even where what it runs catches every Exception."""
    module = script("bench_inductor")

    def hangs(*_, **__):
        def call(*_):
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(60)

        return call

    monkeypatch.setattr(torch, "compile", hangs)
    made = Yardstick(SMALL._replace(op="conv2d"), WallClock(H200))
    start = time.monotonic()
    assert module.torch_compiled(made, 0.2) == "torch.compile took longer than 0.2 s"
    assert time.monotonic() - start < 10


def test_a_failing_compilation_is_told(script, monkeypatch):
    """Where torch.compile fails its column says with what."""

    def fails(*_, **__):
        def call(*_):
            raise AssertionError("no valid choice\nand more")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    made = Yardstick(SMALL._replace(op="conv2d"), WallClock(H200))
    said = script("bench_inductor").torch_compiled(made, 5.0)
    assert said == "torch.compile failed: AssertionError: no valid choice"
