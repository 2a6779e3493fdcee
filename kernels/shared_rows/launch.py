"""How shared_rows is launched: its config, what it can solve, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from typing import NamedTuple

from tunedb.kernels.shared.geometry import axes, problem_constants
from tunedb.kernels.shared.packing import packing_of
from tunedb.kernels.shared_rows.jit import shared_rows
from tunedb.kernels.shared_rows.shape import dense, few, position_extents, positions, shape_of, wide
from tunedb.kernels.shared_rows.weights import core_major

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem

MOST_TAPS = 64  # taps of all steps whose weights may stay in shared memory: each is a buffer of its own
REGISTERS = 216  # that a thread may use for its sums and the input of the next step: more would spill


class Config(NamedTuple):
    """A tile is LINES * STACK rows of BLOCK_N positions by BLOCK_M / STACK channels; its last few positions, the halo, belong to the next tile."""

    UNIT: str  # the instruction that multiplies: "wgmma" of Hopper, or "mma"
    STACK: int  # neighbouring rows of output that fill one product's rows: for few output channels
    LINES: int  # products of a program, for neighbouring rows of output: they share weights and rows of input
    HIGH: int  # taps along the height in one step: 1 or all
    TILES: int  # tiles that a program computes, one after the other
    RESIDENT: int  # 1: the weights of all steps stay in shared memory
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    num_warps: int


def valid(problem: Problem, config: Config, device: Device) -> str:
    packing = packing_of(problem)
    if config.UNIT not in units_of(device):
        return f"UNIT must be one of {units_of(device)} on this GPU, but is {config.UNIT}"
    if problem.dtype == "float32" and problem.precision != "tf32":
        return "float32 must be multiplied in TF32"
    if packing is None or max(side.gap for side in packing.residues) > 1:
        return "stride and dilation of a transposed convolution must have no common factor"
    if packing.strided and (few(problem) or wide(packing) > 8):
        return "a strided transposed convolution must have 5 input channels and a stride of at most 8 along the width"
    item, rows, width = ITEM_BYTES[problem.dtype], position_extents(problem, packing)[1], packing.width
    if few(problem):
        if config.BLOCK_K // 4 * width.reach % width.step:
            return f"the stride of the width must divide {config.BLOCK_K // 4} dilations, the neighbours that are one tap"
    elif width.step > 1:
        return "the width must have stride 1 where a group has more than 4 input channels"
    if config.STACK not in (1, 2, 4) or (config.STACK > 1 and (packing.strided or not dense(packing))):
        return f"STACK must be 1, 2 or 4, and 1 where something is strided or the height dilated, but is {config.STACK}"
    if config.LINES not in (1, 2, 3) or max(config.LINES, config.STACK) > max(1, rows):
        return f"LINES must be 1 to 3, and with STACK at most the {rows} rows, but is {config.LINES}"
    highs = (1, packing.height.taps + config.STACK - 1) if dense(packing) else (1,)
    if config.HIGH not in highs:
        return f"HIGH must be one of {highs}, but is {config.HIGH}"
    if (
        config.BLOCK_M not in ((64, 128) if config.UNIT == "wgmma" else (16, 32, 64, 128))
        or config.BLOCK_N not in (64, 128, 256)
        or config.num_warps not in (4, 8)
    ):
        return "BLOCK_M must be 64 or 128 (with mma also 16 or 32), BLOCK_N 64, 128 or 256, with 4 or 8 warps"
    if config.TILES not in (1, 2, 4, 8, 16) or config.RESIDENT not in (0, 1):
        return f"TILES must be 1, 2, 4, 8 or 16, and RESIDENT 0 or 1, but are {config.TILES} and {config.RESIDENT}"
    if config.BLOCK_K * item not in (32, 64, 128) or (config.UNIT == "mma" and config.BLOCK_K < 16):
        return f"BLOCK_K must be 32, 64 or 128 bytes, and 16 or more with mma, but is {config.BLOCK_K}"
    shape, threads = shape_of(problem, packing, config), 32 * config.num_warps
    if 2 * shape.valid < config.BLOCK_N:
        return f"a window must reach at most half of BLOCK_N {config.BLOCK_N}, but reaches {shape.halo}"
    loaded = config.BLOCK_N * config.BLOCK_K // threads
    if loaded * item < 16:
        return f"a thread must load a vector of every row, but {config.num_warps} warps share {config.BLOCK_N} x {config.BLOCK_K}"
    sums = config.LINES * config.BLOCK_M * config.BLOCK_N // threads
    # Loads of single 16-bit elements take a register each.
    size = item if shape.pair == 2 or (problem.layout == "channels_last" and not few(problem)) else 4
    if sums < 16 or sums + shape.read * loaded * size // 4 > REGISTERS:
        return f"a thread must keep 16 sums or more, and with its input {REGISTERS} registers, but has {sums} sums"
    if config.RESIDENT and (config.TILES == 1 or shape.taps * shape.steps > MOST_TAPS):
        return f"weights must stay for several tiles, and be of at most {MOST_TAPS} taps and steps, but are of {shape.taps * shape.steps}"
    weights = shape.taps * (shape.steps if config.RESIDENT else 2) * config.BLOCK_M
    shared = (2 * shape.read * config.BLOCK_N + weights) * config.BLOCK_K * item
    shared += 2 * shape.read * (shape.past * 16)
    if config.TILES > 1:
        # Results change their layout there before they are stored.
        shared += config.BLOCK_M * config.BLOCK_N * item
    if shared > device.shared_block:
        return (
            f"stages and results need {shared} bytes of shared memory, but a block has {device.shared_block}"
        )
    if positions(problem, packing, config, shape) >= 2**31 - 4096:
        return "all outputs of a channel must be fewer than 2^31"
    return launch_flaw(problem, _grid(problem, config))


def units_of(device: Device) -> tuple[str, ...]:
    if device.wgmma:
        return ("wgmma",)
    # Not consumer Blackwell, which has both mma.sync and TMA: the kernel was never tried there.
    return ("mma",) if device.mma_sync and not device.tma else ()


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    packing = packing_of(problem)
    assert packing is not None
    shape = shape_of(problem, packing, config)
    return (
        -(-positions(problem, packing, config, shape) // (shape.valid * config.TILES)) * shape.blocks,
        1,
        1,
    )


def signature(problem: Problem, config: Config) -> Signature:
    packing = packing_of(problem)
    assert packing is not None
    constexprs = {
        # Its windows are SHAPE's sides: the axes of PROBLEM, of the convolution as it was asked for, go unused.
        "PROBLEM": problem_constants(problem, axes(problem)),
        "CONFIG": config,
        "SHAPE": shape_of(problem, packing, config),
    }
    return convolution_arguments(problem).signature(
        shared_rows, constexprs, _grid(problem, config), config.num_warps, num_stages=2
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    packing = packing_of(problem)
    assert packing is not None
    pack = core_major(
        problem,
        residues=packing.residues,
        sides=packing[:3],
        wide=wide(packing),
        stack=config.STACK,
        high=config.HIGH,
        block_m=config.BLOCK_M,
        block_k=config.BLOCK_K,
        few=few(problem),
        rounded=problem.dtype == "float32",
    )
    return convolution_plan(problem, launcher(signature(problem, config)), pack)
