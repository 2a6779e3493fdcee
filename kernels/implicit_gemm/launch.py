"""How implicit_gemm is launched: its config, which problems it can solve, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tunedb.kernels.implicit_gemm.jit import implicit_gemm
from tunedb.kernels.implicit_gemm.weights import k_major, row_length
from tunedb.kernels.shared.geometry import Axis, axes, problem_constants, residue_count, residue_lengths
from tunedb.kernels.shared.limits import shape_flaw, shared_flaw, tile_flaw
from tunedb.kernels.shared.precision import dots
from tunedb.kernels.shared.split_sum import SPLITS, split_sum_signature

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw, workspace
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor


class Config(NamedTuple):
    """A tile is BLOCK_R output rows by BLOCK_W columns by BLOCK_N output channels."""

    # "taps": all blocks of channels of a tap, then the next tap; "channels": all taps of a block of channels, whose inputs L1
    # may keep, then the next block; "flat": taps and channels are one axis, and a step may span several taps.
    LOOP: str
    # Where residues and groups go in the grid: "fast", "slow", "axis" (tiles.outer_and_inner). With "mask" there are no
    # residues: every output tries all taps behind a divisibility mask; with "row" that is so in width only.
    PHASE: str
    ORDER: str  # of the tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]; 0: [positions, channels]
    BLOCK_R: int
    BLOCK_W: int
    BLOCK_N: int
    BLOCK_K: int
    SPLIT: int  # parts of a sum, a program each; above 1 a second launch adds them
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def valid(problem: Problem, config: Config, device: Device) -> str:
    c_in = problem.c_in // problem.groups
    block_m = config.BLOCK_R * config.BLOCK_W
    names = {
        "LOOP": ("taps", "channels", "flat"),
        "PHASE": ("fast", "slow", "axis", "row", "mask"),
        "ORDER": ("m", "n", "swizzle"),
    }
    if flaw := shape_flaw(config, {**names, "SWAP": (0, 1), "SPLIT": SPLITS, "DOT": dots(problem)}):
        return flaw
    if config.SPLIT > 1 and config.PHASE == "axis":
        return "SPLIT takes the third axis of the grid, so PHASE must not be axis"
    if config.SPLIT > 1 and config.SPLIT * problem.outputs >= 2**31:
        return f"all parts must have fewer than 2^31 sums, but {config.SPLIT} have {config.SPLIT * problem.outputs}"
    if config.LOOP != "flat" and 2 * max(16, c_in) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {c_in} input channels of a group"
    threads = config.num_warps * 32
    # Registers of a thread: the accumulator, as many again for the exact products of float32, and the operands being loaded.
    most = 128 if problem.dtype != "float32" or config.DOT == "tf32" else 64
    if not 4 <= block_m * config.BLOCK_N // threads <= most:
        return f"a thread must own 4 to {most} outputs, but {config.num_warps} warps share {block_m} x {config.BLOCK_N}"
    most = 32 if config.LOOP == "flat" else 64
    if flaw := tile_flaw(config.num_warps, block_m, config.BLOCK_N, config.BLOCK_K, most=most):
        return flaw
    if flaw := shared_flaw(problem, device, config.num_stages, (block_m + config.BLOCK_N) * config.BLOCK_K):
        return flaw
    return launch_flaw(problem, _grid(problem, config))


def signature(problem: Problem, config: Config) -> Signature:
    constants = problem_constants(problem, geometry_of(problem, config))
    arguments = convolution_arguments(problem)
    if config.SPLIT > 1:
        # The second launch adds the bias, once to all parts.
        constants = constants._replace(has_bias=0)
        arguments = arguments._replace(types={**arguments.types, "y_ptr": "*fp32"})
    constexprs = {"PROBLEM": constants, "CONFIG": config, "ROW": row_length(problem)}
    return arguments.signature(
        implicit_gemm, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def geometry_of(problem: Problem, config: Config) -> tuple[Axis, Axis, Axis]:
    if config.PHASE == "mask":
        return axes(problem, masked=True)
    depth, height, width = axes(problem)
    # "row": programs store whole rows, so whole sectors, but compute `stride_w` times the products.
    return depth, height, axes(problem, masked=True)[2] if config.PHASE == "row" else width


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    geometry = geometry_of(problem, config)
    len_d, len_h, len_w = residue_lengths(problem, geometry)
    tiles = -(-problem.n * len_d * len_h // config.BLOCK_R) * -(-len_w // config.BLOCK_W)
    num_n = -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    outer = residue_count(geometry) * problem.groups
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return (inner, second, outer) if config.PHASE == "axis" else (inner * outer, second, config.SPLIT)


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    pack = k_major(problem, rounded=config.DOT == "tf32")
    product = launcher(signature(problem, config))
    if config.SPLIT == 1:
        return convolution_plan(problem, product, pack)
    adding = launcher(split_sum_signature(problem, config.SPLIT))
    allocate = workspace(config.SPLIT * problem.outputs, torch.float32)

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        parts = allocate(x)
        product(x, weight, bias, parts)
        adding(parts, parts, bias, out)

    return convolution_plan(problem, launch, pack)
