"""A recorded landscape in place of a GPU: config to time, with candidates that crash, hang and are wrong.

Children import it by name, so it must be on sys.path. What a trial does depends on its problem and config only:
conv2d has one smooth landscape, conv_transpose2d two kernels, conv1d one kernel whose every config is a way
to go wrong, conv3d no kernel, conv_transpose1d cannot be prepared and conv_transpose3d has a buggy bench.
Torch's time is `c_out` microseconds, and a trial sleeps `n` milliseconds. An older generation's code takes twice
the time.
"""

# ruff: noqa: ARG002 (the kernel protocol gives more than a landscape needs)

import math
import os
import signal
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from tunedb.problem import Problem, checked
from tunedb.record import Measurement

ENVIRONMENT = {"triton": "3.0", "torch": "2.0", "cudnn": "9.0", "driver": "500.0"}
HOSTILE = (
    "fine",
    "wrong",
    "crash",
    "hang",
    "compiler-dies",
    "compiler-hangs",
    "compile-error",
    "slow",
)


class Config(NamedTuple):
    BLOCK_M: int
    BLOCK_N: int
    ORDER: str
    num_warps: int
    num_stages: int


class Landscape:
    """A kernel with 1125 configs, of which those with too large a tile are invalid."""

    Config = Config

    def __init__(self, ops, peak):
        self.OPS = ops
        self.peak = peak

    def space(self, problem, device):
        blocks = (16, 32, 64, 128, 256)
        return {
            "BLOCK_M": blocks,
            "BLOCK_N": blocks,
            "ORDER": ("row", "column", "swizzle"),
            "num_warps": (2, 4, 8),
            "num_stages": (1, 2, 3, 4, 5),
        }

    def valid(self, problem, config, device):
        return "the tile is too large" if config.BLOCK_M * config.BLOCK_N > 128 * 128 else ""

    def default(self, problem, device):
        return Config(16, 16, "row", 4, 1)

    def time_us(self, config):
        """Best at `peak`; warps and tile interact, as they do on a GPU."""
        far = abs(math.log2(config.BLOCK_M / self.peak.BLOCK_M)) + abs(
            math.log2(config.BLOCK_N / self.peak.BLOCK_N)
        )
        tile = abs(
            math.log2(config.BLOCK_M * config.BLOCK_N / config.num_warps)
            - math.log2(self.peak.BLOCK_M * self.peak.BLOCK_N / self.peak.num_warps)
        )
        order = {"row": 0.15, "column": 0.3, "swizzle": 0.0}[config.ORDER]
        stages = 0.05 * abs(config.num_stages - self.peak.num_stages)
        return 100.0 * (1 + 0.2 * far + 0.1 * tile + order + stages)


class Mode(NamedTuple):
    MODE: str


class Hostile:
    """A kernel with one config for each way to fail."""

    OPS = ("conv1d",)
    Config = Mode

    def space(self, problem, device):
        return {"MODE": HOSTILE}

    def valid(self, problem, config, device):
        return ""

    def default(self, problem, device):
        return Mode("fine")

    def time_us(self, config):
        return {"fine": 90.0, "slow": 200.0}.get(config.MODE, 1.0)


class Aten:
    OPS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")

    class Config(NamedTuple):
        pass

    def space(self, problem, device):
        return {}

    def valid(self, problem, config, device):
        return ""

    def default(self, problem, device):
        return None


KERNELS = {
    "alpha": Landscape(("conv2d", "conv_transpose2d"), Config(64, 128, "swizzle", 4, 3)),
    "beta": Landscape(("conv_transpose2d",), Config(128, 32, "swizzle", 8, 2)),
    "hostile": Hostile(),
    "aten": Aten(),
}


def names():
    return tuple(sorted(KERNELS))


def load(name):
    return KERNELS[name]


def source_hash(name):
    return f"{zlib.crc32(name.encode()):016x}"


def parse(kernel, config):
    from tunedb.kernel import config_from_json

    return config_from_json(KERNELS[kernel], config)


def environment():
    return ENVIRONMENT


def compile_candidate(kernel, problem, config, device):
    parsed = parse(kernel, config)
    mode = getattr(parsed, "MODE", "")
    if mode == "compiler-dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "compiler-hangs":
        time.sleep(600)
    if mode == "compile-error":
        return Measurement("compile-error", detail="no such instruction")
    return Measurement("ok", shared=1024, registers=32, spills=0)


def expected(kernel, problem, config, device):
    compiled = compile_candidate(kernel, problem, config, device)
    return (
        compiled._replace(time_us=KERNELS[kernel].time_us(parse(kernel, config)))
        if compiled.status == "ok"
        else compiled
    )


def torch_us(problem, device):
    return None


class Bench:
    def __init__(self, problem, device_index, *, device):
        if problem.op == "conv_transpose1d":
            os._exit(3)
        if problem.op == "conv_transpose3d":
            raise TypeError("a bench that was written wrongly")
        self.problem = problem
        self.slower = 2.0 if device.arch else 1.0  # an older generation's code
        self.aten_us = float(problem.c_out)
        self.aten_error = 1e-4
        self.floor_us = 1.0

    def trial(self, kernel, config):
        if log := os.environ.get("LANDSCAPE_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {zlib.crc32(repr(self.problem).encode())} {kernel} {config}\n")
        time.sleep(self.problem.n / 1000)
        return self._measure(kernel, config)

    def final(self, candidates):
        return [self._timed(self.aten_us), *(self._measure(kernel, config) for kernel, config in candidates)]

    def close(self):
        pass

    def _measure(self, kernel, config):
        parsed = parse(kernel, config)
        mode = getattr(parsed, "MODE", "")
        if mode == "crash":
            os._exit(7)
        if mode == "hang":
            time.sleep(600)
        if mode == "wrong":
            return Measurement("wrong", error=1.0, detail="error 1 against 1e-4")
        return self._timed(KERNELS[kernel].time_us(parsed) * self.slower)

    def _timed(self, time_us):
        return Measurement("ok", time_us, time_us * 0.999, time_us * 1.001, error=1e-4)


def echo(conn, word):
    """Be a child that tells who it is and doubles what it is told."""
    conn.send((word, os.getpid(), os.environ.get("TRITON_INTERPRET")))
    conn.send(conn.recv() * 2)


def problem(op="conv2d", *, n=0, c_in=8, c_out=1000, in_w=64):
    """A problem for this landscape: torch takes `c_out` microseconds, a trial `n` milliseconds."""
    rank = int(op[-2])
    sizes = [(1, 1, 1)] * (3 - rank) + [(in_w, 3, 1)] * rank
    inputs, kernels, _ = zip(*sizes, strict=True)
    return checked(
        Problem(
            op,
            "float16",
            "ieee",
            "channels_first",
            n,
            c_in,
            c_out,
            1,
            0,
            *inputs,
            *kernels,
            1,
            1,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
            1,
            1,
        )
    )
