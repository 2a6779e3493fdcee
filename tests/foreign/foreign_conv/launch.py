"""How the naive convolution is launched: its config, what it can solve, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

from foreign_conv.jit import naive
from foreign_conv.weights import channels_inside
from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import Problem


class Config(NamedTuple):
    BLOCK: int  # outputs of a program, one a lane
    LOOP: str  # which loop is outside: "taps" or "channels"
    num_warps: int


class Layer(NamedTuple):
    """What does not change with batch and extents: one compile-time constant, so that a layer is compiled once."""

    transposed: int
    channels_last: int
    bias: int
    c_in: int  # of a group
    c_out: int  # of all groups
    groups: int
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    padding: tuple[int, int, int]
    dilation: tuple[int, int, int]


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    if config.BLOCK not in {32, 64, 128, 256, 512, 1024}:
        return f"BLOCK must be a power of two from 32 to 1024, but is {config.BLOCK}"
    if config.LOOP not in {"taps", "channels"}:
        return f"LOOP must be taps or channels, but is {config.LOOP!r}"
    if config.num_warps not in {1, 2, 4, 8} or 32 * config.num_warps > config.BLOCK:
        return f"num_warps must be 1, 2, 4 or 8 with at most BLOCK lanes, but is {config.num_warps}"
    return launch_flaw(problem, _grid(problem, config))


def signature(problem: Problem, config: Config) -> Signature:
    layer = Layer(
        int(problem.transposed), int(problem.layout == "channels_last"), problem.bias, problem.c_in // problem.groups,
        problem.c_out, problem.groups, problem.kernel, problem.stride, problem.padding, problem.dilation,
    )  # fmt: skip
    constexprs: dict[str, Any] = {"LAYER": layer, "CONFIG": config}
    return convolution_arguments(problem).signature(
        naive, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    return (max(1, -(-problem.outputs // config.BLOCK)), 1, 1)


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(problem, launcher(signature(problem, config)), channels_inside(problem))
