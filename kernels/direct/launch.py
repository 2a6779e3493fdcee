"""How direct is launched: its config, which problems it can solve, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from math import gcd
from typing import NamedTuple

from tunedb.kernels.direct.jit import direct
from tunedb.kernels.direct.weights import column_major
from tunedb.kernels.shared import window
from tunedb.kernels.shared.geometry import axes, problem_constants, residue_lengths
from tunedb.kernels.shared.limits import shape_flaw

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem

TOGETHER = 4  # input channels of a step: their products are summed by themselves, then added to the outputs
CODE_LIMIT = 1024  # unrolled multiply-adds of a thread and step
# Loads of a step: code with more takes tens of seconds to compile.
WEIGHTS_LIMIT, INPUTS_LIMIT = 256, 64
SUMS_LIMIT = 96  # outputs of a thread; their sums take two registers each
MOST_TAPS, MOST_RESIDUES = 16, 64  # taps and residues of the width, which are unrolled
SHORT = 64  # inputs of a row that `folded` joins with the next ones


class Config(NamedTuple):
    """A thread owns COLS columns of each width residue by BLOCK_N output channels of a group."""

    COLS: int
    BLOCK_N: int
    COMPENSATED: int  # 1: sums carry their rounding error along (shared/compensated_sum.py)
    num_warps: int


class Tables(NamedTuple):
    """What the kernel knows at compile time beside the problem and the config."""

    columns: window.Columns
    rows: int  # of a tap in the packed weight: input channels of a group, padded
    row: int  # elements of one: output channels of a group, padded
    together: int  # input channels whose products are summed by themselves


def folded(problem: Problem) -> Problem:
    """Return the problem with height and width joined to one axis, where rows are short and the result is the same.

    Joined rows are longer, so that more of a program's threads have work. The result is the same if the kernel is one column
    wide, strides are 1 and there are no borders: then rows follow each other in memory, in the input and in the output, and
    height taps lie whole rows apart. The distance, dilation_h * in_w, becomes a constant of the compiled code.
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


def unrolling_flaw(problem: Problem) -> str:
    width = axes(problem)[2]
    if width.taps > MOST_TAPS or width.residues > MOST_RESIDUES:
        return f"direct unrolls at most {MOST_TAPS} taps and {MOST_RESIDUES} residues of a row, but has {width.taps} and {width.residues}"
    return ""


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    problem = folded(problem)
    if flaw := shape_flaw(config, {"COMPENSATED": (0, 1)}) or unrolling_flaw(problem):
        return flaw
    width, c_in = axes(problem)[2], problem.c_in // problem.groups
    outputs = config.COLS * width.residues * config.BLOCK_N
    if outputs + config.COMPENSATED * outputs // 2 > SUMS_LIMIT and config[:2] != (1, 1):
        return f"a thread must own at most {SUMS_LIMIT} outputs, but owns {outputs}"
    weights = width.taps * config.BLOCK_N * min(TOGETHER, c_in)
    if config.COLS * weights > CODE_LIMIT:
        return f"at most {CODE_LIMIT} multiply-adds can be unrolled, but a thread has {config.COLS * weights}"
    inputs = len(_columns(problem, config).vectors) * min(TOGETHER, c_in)
    if (weights > WEIGHTS_LIMIT or inputs > INPUTS_LIMIT) and config[:2] != (1, 1):
        return f"a step may load at most {WEIGHTS_LIMIT} weights and {INPUTS_LIMIT} inputs, but loads {weights} and {inputs}"
    return launch_flaw(problem, _grid(problem, config))


def _columns(problem: Problem, config: Config) -> window.Columns:
    # In channels_last a load takes the channels of one pixel, not neighbouring columns.
    last = problem.layout == "channels_last"
    widest = 1 if last else gcd(16 // ITEM_BYTES[problem.dtype], problem.in_w)
    return window.columns(axes(problem)[2], config.COLS, widest)


def _rows(problem: Problem) -> int:
    """Return how many rows of weights a tap has: the input channels of a group, rounded up to TOGETHER."""
    return -(-(problem.c_in // problem.groups) // TOGETHER) * TOGETHER


def _row(problem: Problem, config: Config) -> int:
    """Return the elements of a row of weights: the output channels of a group, rounded up to whole vectors."""
    size = max(4, config.BLOCK_N)
    return -(-(problem.c_out // problem.groups) // size) * size


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    depth, height, width = axes(problem)
    len_d, len_h, len_w = residue_lengths(problem, (depth, height, width))
    threads = problem.n * len_d * len_h * -(-len_w // config.COLS)
    programs = -(-threads // (32 * config.num_warps)) * problem.groups
    programs *= -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    return max(1, programs * depth.residues * height.residues), 1, 1


def signature(problem: Problem, config: Config) -> Signature:
    problem = folded(problem)
    constexprs = {
        "PROBLEM": problem_constants(problem, axes(problem)),
        "CONFIG": config,
        "TABLES": Tables(_columns(problem, config), _rows(problem), _row(problem, config), TOGETHER),
    }
    return convolution_arguments(problem).signature(
        direct, constexprs, _grid(problem, config), config.num_warps, num_stages=1
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    # A folded problem has its taps in the same order, so the weight of the given one is packed.
    pack = column_major(problem, rows=_rows(problem), row=_row(problem, config))
    return convolution_plan(problem, launcher(signature(problem, config)), pack)
