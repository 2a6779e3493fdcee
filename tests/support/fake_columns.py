"""A problem and a kernel with faults on request, for the columns of the benchmark programs."""

from pathlib import Path
from typing import NamedTuple

from awkward import problem

from tunedb.device import by_slug
from tunedb.problem import OPS

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = problem("conv_transpose2d", n=2, c=(4, 6), extents=(5, 7), k=3, s=2, p=1, op_=(1, 0), bias=1, precision="ieee")  # fmt: skip
H200 = by_slug("h200")


class Config(NamedTuple):
    BLOCK: int
    FAULT: str


class Kernel:
    """A kernel that is torch's convolution, or that with a fault; it keeps what it was launched with."""

    OPS, Config = OPS, Config

    def __init__(self):
        self.launchers = []

    def valid(self, _problem, config, device):
        return f"BLOCK must be at most {device.shared_block}." if device.shared_block < config.BLOCK else ""

    def plan(self, problem, config, launcher):
        from tunedb.kernels import aten

        self.launchers.append(launcher)
        exact = aten.plan(problem, aten.Config(), launcher)
        calls = []

        def run(x, weight, bias, out):
            calls.append(None)
            if config.FAULT == "launch":
                raise RuntimeError("CUDA error: too many resources requested for launch")
            exact(x, weight, bias, out)
            if config.FAULT == "wrong":
                out *= 1.01
            if config.FAULT == "noisy" and len(calls) % 2:
                out[0, 0, 0, 0] += out[0, 0, 0, 0] * 2.0**-22
            if config.FAULT == "unwritten":
                out[0, 0, 0, 0] = float("nan")
            return out

        return run
