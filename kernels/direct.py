"""Direct convolution without a matrix unit: a thread owns neighbouring outputs of one row for several channels.

For few channels, where a matrix tile would mostly multiply padding, and for float32 that must not be rounded to TF32.
Each input is loaded once for all taps of a row and all channels of the thread. Depth and height taps follow from the
phase of the rows. Products and sums are IEEE float32.
"""

from collections.abc import Callable
from math import gcd
from typing import NamedTuple

from tunedb.kernels import window
from tunedb.kernels.bounds import shape_flaw
from tunedb.kernels.direct_jit import direct
from tunedb.kernels.geometry import axes, constants, phase_lengths
from tunedb.kernels.sums import worth_compensating

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import column_major

OPS = ALL_OPS
TOGETHER = 4  # channels of an input row whose products are summed by themselves
CODE_LIMIT = 1024  # multiply-adds that are unrolled
# Loads of a step. More take tens of seconds to compile.
WEIGHTS_LIMIT, INPUTS_LIMIT = 256, 64
SUMS_LIMIT = 96  # outputs of a thread, whose sums take twice as many registers
MOST_TAPS, MOST_PHASES = 16, 64  # of the width
SHORT = 64  # inputs of a row that is made one with the next


class Config(NamedTuple):
    """A thread owns COLS columns of each width phase by BLOCK_N output channels of a group."""

    COLS: int
    BLOCK_N: int
    COMPENSATED: int  # whether sums keep the low bits that they would lose
    num_warps: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    problem = folded(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if c_in * c_out > 32 * 64 or (c_in == 1 and problem.groups > 1) or _flaw(problem):
        return {}  # a matrix unit is 5 to 16 times as fast there; depthwise has its own kernel
    length = phase_lengths(problem, axes(problem))[2]
    return {
        "COLS": tuple(size for size in (1, 2, 4, 8) if size < 2 * length),
        "BLOCK_N": tuple(size for size in (1, 2, 4, 8, 16) if size < 2 * c_out),
        "COMPENSATED": worth_compensating(problem),
        "num_warps": (1, 2, 4, 8),
    }


def folded(problem: Problem) -> Problem:
    """Return the same problem with height and width as one axis where rows are short and that is the same: longer rows.

    Without width taps, strides or borders neighbouring rows are neighbours in memory, of input and output both, and
    height taps lie whole rows apart. The width then is a constant of the compiled code.
    """
    plain = problem.k_w == problem.stride_w == problem.stride_h == 1
    borders = problem.padding_w or problem.padding_h or problem.output_padding_w or problem.output_padding_h
    if not plain or borders or problem.k_h == 1 or problem.in_w > SHORT:
        return problem
    return problem._replace(
        in_h=1,
        in_w=problem.in_h * problem.in_w,
        k_h=1,
        k_w=problem.k_h,
        dilation_h=1,
        dilation_w=problem.dilation_h * problem.in_w,
    )


def _flaw(problem: Problem) -> str:
    width = axes(problem)[2]
    if width.taps > MOST_TAPS or width.phases > MOST_PHASES:
        return f"direct unrolls at most {MOST_TAPS} taps and {MOST_PHASES} phases of a row, but has {width.taps} and {width.phases}"
    return ""


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    problem = folded(problem)
    if flaw := shape_flaw(config, {"COMPENSATED": (0, 1)}) or _flaw(problem):
        return flaw
    width, c_in = axes(problem)[2], problem.c_in // problem.groups
    outputs = config.COLS * width.phases * config.BLOCK_N
    if outputs + config.COMPENSATED * outputs // 2 > SUMS_LIMIT and config[:2] != (1, 1):
        return f"a thread must own at most {SUMS_LIMIT} outputs, but owns {outputs}"
    weights = width.taps * config.BLOCK_N * min(TOGETHER, c_in)
    if config.COLS * weights > CODE_LIMIT:
        return f"at most {CODE_LIMIT} multiply-adds can be unrolled, but a thread has {config.COLS * weights}"
    inputs = len(_columns(problem, config).vectors) * min(TOGETHER, c_in)
    if (weights > WEIGHTS_LIMIT or inputs > INPUTS_LIMIT) and config[:2] != (1, 1):
        return f"a step may load at most {WEIGHTS_LIMIT} weights and {INPUTS_LIMIT} inputs, but loads {weights} and {inputs}"
    return launch_flaw(problem, _grid(problem, config))


def default(problem: Problem, device: Device) -> Config | None:
    problem = folded(problem)
    dims = space(problem, device)
    if not dims:
        return None
    most = int(dims["COLS"][-1]), int(dims["BLOCK_N"][-1])
    for cols, channels in ((4, 4), (2, 4), (1, 4), (1, 2), (1, 1)):
        config = Config(min(cols, most[0]), min(channels, most[1]), 0, 4)
        if not valid(problem, config, device):
            return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return what was best on an H200 for 3 to 8 channels a group, and sums that are as near to float64 as torch's."""
    most = problem.c_out // problem.groups
    tried = [Config(4, 16, 0, 1), Config(4, 8, 0, 4), Config(4, 4, 0, 1), Config(2, 8, 0, 1)]
    first = default(problem, device)
    if first is not None and 1 in worth_compensating(problem):
        tried += [
            first._replace(COLS=cols, COMPENSATED=1) for cols in dict.fromkeys((max(1, first.COLS // 2), 1))
        ]
    return [config for config in tried if 2 * most > config.BLOCK_N]


def _columns(problem: Problem, config: Config) -> window.Columns:
    # A channels_last load is the channels of one pixel.
    last = problem.layout == "channels_last"
    widest = 1 if last else gcd(16 // ITEM_BYTES[problem.dtype], problem.in_w)
    return window.columns(axes(problem)[2], config.COLS, widest)


def _rows(problem: Problem) -> int:
    """Return the rows of weights that a tap has: input channels of a group, whole blocks of those summed together."""
    return -(-(problem.c_in // problem.groups) // TOGETHER) * TOGETHER


def _row(problem: Problem, config: Config) -> int:
    """Return the elements of a row of weights: output channels of a group, whole vectors of them."""
    size = max(4, config.BLOCK_N)
    return -(-(problem.c_out // problem.groups) // size) * size


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    depth, height, width = axes(problem)
    len_d, len_h, len_w = phase_lengths(problem, (depth, height, width))
    threads = problem.n * len_d * len_h * -(-len_w // config.COLS)
    programs = -(-threads // (32 * config.num_warps)) * problem.groups
    programs *= -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    return max(1, programs * depth.phases * height.phases), 1, 1


def work(problem: Problem, config: Config) -> Work:
    problem = folded(problem)
    depth, height, width = axes(problem)
    item, threads = ITEM_BYTES[problem.dtype], 32 * config.num_warps
    rows = depth.taps / depth.phases * height.taps / height.phases * (problem.c_in // problem.groups)
    products = config.COLS * width.taps * config.BLOCK_N
    # What neighbouring threads both load comes from L1, and so do the weights but once. A weight is handed to 32 threads
    # each time, which takes as long as four of its products: by measure on an H200 a step takes about that longer.
    held_up = 1 + 4 / config.COLS
    loads = threads * config.COLS * width.step * item + width.taps * config.BLOCK_N * item
    spread = problem.c_out // problem.groups if problem.layout == "channels_last" else config.BLOCK_N
    added = 4 * config.COMPENSATED * config.COLS * width.phases * config.BLOCK_N / TOGETHER
    return Work(
        flops=int(2 * threads * (products * held_up + added) * max(1.0, rows)),
        unit="fma",
        loaded=int(max(1.0, rows) * loads),
        stored=threads * config.COLS * width.phases * min(spread, config.BLOCK_N) * item,
        k_steps=max(1, round(rows / TOGETHER)),
    )


def signature(problem: Problem, config: Config) -> Signature:
    problem = folded(problem)
    constexprs = {
        **constants(problem, axes(problem), config),
        "C_ROWS": _rows(problem),
        "ROW": _row(problem, config),
        "COLUMNS": _columns(problem, config),
        "TOGETHER": TOGETHER,
        "LANES": 32 * config.num_warps,
    }
    return convolution_arguments(problem).signature(
        direct, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    # The taps of a folded problem are in the same order.
    pack = column_major(problem, rows=_rows(problem), row=_row(problem, config))
    return convolution_plan(problem, launcher(signature(problem, config)), pack)
