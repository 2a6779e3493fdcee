"""torch.compile's column: what it is asked for, and that it neither hangs nor fails a run."""

import contextlib
import time

import torch
from awkward import problem

from tunedb.device import by_slug
from tunedb.measure.baseline import Yardstick
from tunedb.measure.timing import WallClock

SMALL = problem("conv_transpose2d", n=2, c=(4, 6), extents=(5, 7), k=3, s=2, p=1, op_=(1, 0), bias=1, precision="ieee")  # fmt: skip
H200 = by_slug("h200")


def test_templates_are_for_forward_problems_without_dilation(scripts):
    """Inductor is asked for what its templates can do only."""
    templated = scripts("bench.inductor").templated
    forward = SMALL._replace(op="conv2d")
    assert templated(forward)
    assert templated(forward._replace(op="conv3d"))
    assert not templated(SMALL)
    assert not templated(forward._replace(dilation_w=2))
    assert not templated(forward._replace(op="conv1d"))


def test_a_slow_compilation_is_ended(scripts, monkeypatch):
    """torch.compile is interrupted at its limit, even where what it runs catches every Exception."""
    module = scripts("bench.inductor")

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


def test_a_failing_compilation_is_told(scripts, monkeypatch):
    """Where torch.compile fails its column says with what."""

    def fails(*_, **__):
        def call(*_):
            raise AssertionError("no valid choice\nand more")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    made = Yardstick(SMALL._replace(op="conv2d"), WallClock(H200))
    said = scripts("bench.inductor").torch_compiled(made, 5.0)
    assert said == "torch.compile failed: AssertionError: no valid choice"
