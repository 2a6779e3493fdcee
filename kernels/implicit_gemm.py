"""Convolution as a matrix product: output positions by output channels, over taps and input channels.

Forward problems and stride-1 transposed ones are one phase; a strided transposed one is a unit-step
convolution for each output phase, all in one launch. Every program owns its outputs, so nothing is atomic; where there
are few of them, programs own parts of the sums, which a second launch adds in their order.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import triton
from tunedb.kernels.bounds import shape_flaw, shared_flaw, tile_flaw
from tunedb.kernels.geometry import Axis, axes, constants, phase_lengths, phases
from tunedb.kernels.implicit_gemm_jit import implicit_gemm
from tunedb.kernels.precision import dots, worth_trying
from tunedb.kernels.split_sum import SPLITS, split_sum_signature, splits
from tunedb.kernels.sums import sum_length

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import k_major

if TYPE_CHECKING:
    from torch import Tensor

OPS = ALL_OPS


class Config(NamedTuple):
    """A tile is BLOCK_R output rows by BLOCK_W columns by BLOCK_N output channels."""

    LOOP: str  # "taps": channels inside taps; "channels": taps inside, whose inputs L1 may keep; "flat": one axis of both
    PHASE: str  # where phases and groups go in the grid (tiles.outer_and_inner); masks in place of phases: "row", "mask"
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]
    BLOCK_R: int
    BLOCK_W: int
    BLOCK_N: int
    BLOCK_K: int
    SPLIT: int  # parts of a sum, each a program's
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if c_in == 1 and c_out <= 2 and problem.groups > 1:
        return {}  # depthwise: a matrix unit would multiply zeros
    depth, height, width = phase_lengths(problem, axes(problem))
    rows_there = triton.next_power_of_2(max(1, problem.n * depth * height))
    columns_there = min(256, triton.next_power_of_2(width))
    phases_of_grid: tuple[str, ...] = ("slow",)
    if problem.transposed and max(problem.stride) > 1:
        phases_of_grid = ("fast", "slow", "axis", "row")
    elif problem.groups > 1:
        phases_of_grid = ("fast", "slow", "axis")
    rows_there = max(rows_there, 16 // columns_there)  # tl.dot needs 16 positions
    most_rows = min(rows_there, 16 if width < 256 else 4)
    loops: tuple[str, ...] = ("taps", "flat") if c_in <= 32 else ("taps",)
    if problem.layout == "channels_first" and c_in > 16 and max(problem.kernel) > 1:
        loops += ("channels",)  # 16-byte copies of channels_last go past L1
    return {
        "LOOP": loops,
        "PHASE": phases_of_grid,
        "ORDER": ("m", "n", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_R": tuple(size for size in (1, 2, 4, 8, 16) if size <= most_rows),
        "BLOCK_W": tuple(
            size for size in (8, 16, 32, 64, 128, 256) if columns_there // 8 <= size <= max(8, columns_there)
        ),
        "BLOCK_N": tuple(size for size in (16, 32, 64, 128, 256) if size < 2 * max(c_out, 9)),
        "BLOCK_K": (16, 32, 64) if problem.dtype == "float32" else (16, 32, 64, 128),
        "SPLIT": splits(problem, 4 * device.sm_count, sum_length(problem)),
        "DOT": worth_trying(problem),
        "num_warps": (2, 4, 8),
        "num_stages": (2, 3, 4, 5),
    }


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
    # Registers a thread: the accumulator (the exact products of float32 take as many beside it), and the operands on their way.
    most = 128 if problem.dtype != "float32" or config.DOT == "tf32" else 64
    if not 4 <= block_m * config.BLOCK_N // threads <= most:
        return f"a thread must own 4 to {most} outputs, but {config.num_warps} warps share {block_m} x {config.BLOCK_N}"
    most = 32 if config.LOOP == "flat" else 64
    if flaw := tile_flaw(config.num_warps, block_m, config.BLOCK_N, config.BLOCK_K, most=most):
        return flaw
    if flaw := shared_flaw(problem, device, config.num_stages, (block_m + config.BLOCK_N) * config.BLOCK_K):
        return flaw
    return launch_flaw(problem, _grid(problem, config))


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    block_w = min(64, max(int(size) for size in dims["BLOCK_W"]))
    # At least 16 positions even where there are fewer rows.
    block_r = min(64 // block_w, max(16 // block_w, *(int(size) for size in dims["BLOCK_R"])))
    block_n = min(64, max(16, triton.next_power_of_2(c_out)))
    return Config(
        LOOP="flat" if c_in <= 8 else "taps",
        PHASE="fast" if len(dims["PHASE"]) > 1 else "slow",
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        BLOCK_R=block_r,
        BLOCK_W=block_w,
        BLOCK_N=block_n,
        BLOCK_K=32 if c_in > 16 or c_in <= 8 else 16,
        SPLIT=1,
        DOT=str(dims["DOT"][0]),
        num_warps=4 if block_r * block_w * block_n >= 512 else 2,  # at least 4 outputs a thread
        num_stages=3,
    )


def seeds(problem: Problem, device: Device) -> list[Config]:
    first = default(problem, device)
    if first is None:
        return []
    wide = 2 if first.BLOCK_R == 1 else 1
    tiles = ((128, 128, 16, 8, 3), (64 * wide, 128, 32, 4, 3), (128, 64, 32, 4, 3))
    found = []
    for w, n, k, warps, stages in tiles:
        tile = {
            "BLOCK_W": min(first.BLOCK_W, w) * (w // 64),
            "BLOCK_N": min(n, 2 * first.BLOCK_N),
            "BLOCK_K": k,
        }
        found.append(first._replace(SWAP=0, **tile, num_warps=warps, num_stages=stages))
    dims = space(problem, device)
    split = max(int(parts) for parts in dims["SPLIT"])
    if split > 1:
        phase = "slow" if first.PHASE == "axis" else first.PHASE
        found += [first._replace(SPLIT=parts, PHASE=phase, DOT=str(dot)) for parts in (split, max(2, split // 4)) for dot in dims["DOT"][:2]]  # fmt: skip
    return found


def signature(problem: Problem, config: Config) -> Signature:
    constexprs = constants(problem, _geometry(problem, config), config)
    arguments = convolution_arguments(problem)
    if config.SPLIT > 1:
        constexprs["HAS_BIAS"] = 0
        arguments = arguments._replace(types={**arguments.types, "y_ptr": "*fp32"})
    return arguments.signature(
        implicit_gemm, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def work(problem: Problem, config: Config) -> Work:
    geometry = _geometry(problem, config)
    item = ITEM_BYTES[problem.dtype]
    c_in = problem.c_in // problem.groups
    taps = 1.0  # of the average phase
    for axis in geometry:
        taps *= axis.taps / axis.phases
    if config.LOOP != "flat":
        k_steps = taps * -(-c_in // config.BLOCK_K)
    else:
        k_steps = taps * c_in / config.BLOCK_K + 0.5
    k_steps /= config.SPLIT
    positions = config.BLOCK_R * config.BLOCK_W
    first, width = problem.layout == "channels_first", geometry[2]
    x_item = min(32, item * (width.step if first else 1))
    # A part is written as float32 and read again by the second launch.
    y_item, read_again = (item, 0) if config.SPLIT == 1 else (4, positions * config.BLOCK_N * 4)
    depth = min(config.BLOCK_K, c_in) if config.LOOP != "flat" else config.BLOCK_K
    return Work(
        flops=int(
            2 * positions * config.BLOCK_N * config.BLOCK_K * k_steps * (3 if config.DOT == "tf32x3" else 1)
        ),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=int(k_steps * depth * (positions * x_item + config.BLOCK_N * item)) + read_again,
        stored=positions * config.BLOCK_N * min(32, y_item * (width.phases if first else 1)),
        k_steps=max(1, round(k_steps)),
        launches=1 if config.SPLIT == 1 else 2,
    )


def _geometry(problem: Problem, config: Config) -> tuple[Axis, Axis, Axis]:
    if config.PHASE == "mask":
        return axes(problem, masked=True)
    depth, height, width = axes(problem)
    # Without phases a row leaves in whole sectors, for as many times the products as the width's stride.
    return depth, height, axes(problem, masked=True)[2] if config.PHASE == "row" else width


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    geometry = _geometry(problem, config)
    len_d, len_h, len_w = phase_lengths(problem, geometry)
    tiles = -(-problem.n * len_d * len_h // config.BLOCK_R) * -(-len_w // config.BLOCK_W)
    num_n = -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    outer = phases(geometry) * problem.groups
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return (inner, second, outer) if config.PHASE == "axis" else (inner * outer, second, config.SPLIT)


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    pack = k_major(problem, rounded=config.DOT == "tf32")
    product = launcher(signature(problem, config))
    if config.SPLIT == 1:
        return convolution_plan(problem, product, pack)
    adding = launcher(split_sum_signature(problem, config.SPLIT))
    elements = config.SPLIT * problem.outputs

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        parts = torch.empty(elements, dtype=torch.float32, device=x.device)
        product(x, weight, bias, parts)
        adding(parts, parts, bias, out)

    return convolution_plan(problem, launch, pack)
