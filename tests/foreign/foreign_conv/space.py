"""Which configs of the naive convolution are worth trying, which first, and what they cost."""

import math

from foreign_conv.launch import Config
from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    many = math.prod(problem.kernel) > 1 and problem.c_in > problem.groups  # else the order of loops is one
    return {
        "BLOCK": (128, 256, 512, 1024),
        "LOOP": ("taps", "channels") if many else ("taps",),
        "num_warps": (1, 2, 4, 8),
    }


def default(problem: Problem, device: Device) -> Config | None:
    del problem, device
    return Config(BLOCK=256, LOOP="taps", num_warps=4)


def seeds(problem: Problem, device: Device) -> list[Config]:
    del problem, device
    return [Config(BLOCK=128, LOOP="taps", num_warps=4)]


def work(problem: Problem, config: Config) -> Work:
    """Return what a program does: every lane multiplies every tap, those that read padding too."""
    products = math.prod(problem.kernel) * (problem.c_in // problem.groups)
    item = ITEM_BYTES[problem.dtype]
    return Work(
        flops=2 * config.BLOCK * products,
        unit="fma",
        loaded=2 * config.BLOCK * products * item,
        stored=config.BLOCK * item,
        k_steps=products,
    )
