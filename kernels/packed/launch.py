"""How packed is launched: its config, the problems it solves, what Triton compiles and what a plan runs."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.kernels.packed.jit import packed
from tunedb.kernels.packed.repack import repack_signature
from tunedb.kernels.packed.shape import columns_of, is_ready, residues_of_row, runs_of, shape_of
from tunedb.kernels.packed.weights import residue_major, window_major
from tunedb.kernels.shared.geometry import axes, problem_constants
from tunedb.kernels.shared.limits import shape_flaw, shared_flaw, tile_flaw
from tunedb.kernels.shared.packing import packed_elements, packing_of
from tunedb.kernels.shared.precision import dots

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw, workspace
from tunedb.problem import ITEM_BYTES, Problem

if TYPE_CHECKING:
    from torch import Tensor


LARGEST = 1 << 33  # bytes that the packed input may take
WIDTHS = (16, 32, 48, 64, 96, 128, 192, 256)  # of a tile, in columns


class Config(NamedTuple):
    """A tile is BLOCK_M positions, each a span of SPAN neighbouring outputs, by BLOCK_N columns of their SPAN * channels sums.

    BLOCK_N is a power of two, or three times one: the tile is then two products, of two thirds and of one third of the columns.
    """

    REPACK: int  # 0: the input has the packed layout already, and its float32 is rounded in the loop
    SPAN: int  # outputs along the inner axis that share a window: more columns for problems of few output channels
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [columns, positions]; 0: [positions, columns]
    BLOCK_M: int  # positions of a tile
    BLOCK_N: int  # columns of a tile
    BLOCK_K: int  # elements of a run in a step
    TILES: int  # that a program computes, one after the other
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def valid(problem: Problem, config: Config, device: Device) -> str:
    packing = packing_of(problem)
    if packing is None:
        return "a transposed convolution must have strides of at most 16"
    names = {
        "REPACK": (0, 1),
        "ORDER": ("m", "n", "swizzle"),
        "SWAP": (0, 1),
        "BLOCK_N": WIDTHS,
        "DOT": dots(problem),
    }
    if flaw := shape_flaw(config, names):
        return flaw
    side, out = packing.sides[packing.inner], problem.out_extents[packing.inner]
    if packing.strided:
        if residues_of_row(packing) != config.SPAN or config.SPAN > config.BLOCK_N or not config.REPACK:
            return f"SPAN must hold the residues of a row, {residues_of_row(packing)}, with REPACK, but is {config.SPAN}"
    elif config.SPAN > 1 and (side.reach > 1 or min(16, config.BLOCK_N) < config.SPAN):
        return f"SPAN must be 1 where the inner axis is dilated, and at most 16 and BLOCK_N, but is {config.SPAN}"
    if not config.REPACK and not (is_ready(problem, packing) and out % config.SPAN == 0):
        return "without REPACK the input must be channels_last, without borders, of aligned channels, and SPAN divide the outputs"
    columns = columns_of(problem, packing, config.SPAN)
    if 2 * max(16, columns) <= config.BLOCK_N:
        return f"BLOCK_N {config.BLOCK_N} is twice the {columns} columns"
    run, _ = runs_of(packing, config.SPAN)
    if 2 * max(16, run) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {run} elements of a run"
    threads = config.num_warps * 32
    most = 128 if problem.dtype != "float32" or config.DOT == "tf32" else 64
    if not 4 <= config.BLOCK_M * config.BLOCK_N // threads <= most:
        return f"a thread must own 4 to {most} outputs, but {config.num_warps} warps share {config.BLOCK_M} x {config.BLOCK_N}"
    if config.BLOCK_M * config.BLOCK_N * packing.residues[2].gap // threads > 128:
        return f"a thread must store at most 128 outputs at once, but {config.num_warps} warps share {packing.residues[2].gap} times {config.BLOCK_M} x {config.BLOCK_N}"
    if flaw := tile_flaw(config.num_warps, config.BLOCK_M, config.BLOCK_N, config.BLOCK_K):
        return flaw
    if flaw := shared_flaw(
        problem, device, config.num_stages, (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K
    ):
        return flaw
    elements = packed_elements(problem, packing, config.SPAN)
    if elements * ITEM_BYTES[problem.dtype] > LARGEST:
        return f"the packed input must take at most {LARGEST >> 30} GiB"
    if elements >= 2**31 * problem.n * problem.groups > 0:
        return "one sample of the packed input must have fewer than 2^31 elements"
    depth, height, width = problem.out_extents
    if problem.n * depth * height * width >= 2**31 - 4096:
        return "all outputs of a channel must be fewer than 2^31"
    repacking = repack_signature(problem, packing, config.SPAN, rounded=False).grid
    return launch_flaw(problem, grid_of(problem, config)) or launch_flaw(problem, repacking)


def grid_of(problem: Problem, config: Config) -> tuple[int, int, int]:
    """Return the grid of the product: tiles of positions, by tiles of columns, by groups, all on one axis."""
    packing = packing_of(problem)
    assert packing is not None
    counts = list(packing.periods)
    if not packing.strided:
        counts[packing.inner] = config.SPAN
    positions = [-(-out // count) for out, count in zip(problem.out_extents, counts, strict=True)]
    tiles = -(-problem.n * math.prod(positions) // (config.BLOCK_M * config.TILES))
    return tiles * -(-columns_of(problem, packing, config.SPAN) // config.BLOCK_N) * problem.groups, 1, 1


def signature(problem: Problem, config: Config) -> Signature:
    packing = packing_of(problem)
    assert packing is not None
    constexprs: dict[str, Any] = {
        "PROBLEM": problem_constants(problem, axes(problem)),
        "PACKING": packing.spanning(config.SPAN),
        "SHAPE": shape_of(problem, packing, config.SPAN),
        "CONFIG": config,
    }
    return convolution_arguments(problem).signature(
        packed, constexprs, grid_of(problem, config), config.num_warps, config.num_stages
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    packing = packing_of(problem)
    assert packing is not None
    rounded = config.DOT == "tf32"
    major = residue_major if packing.strided else window_major
    pack = major(problem, packing, config.SPAN, rounded=rounded)
    product = launcher(signature(problem, config))
    if not config.REPACK:
        return convolution_plan(problem, product, pack)
    repacking = launcher(repack_signature(problem, packing, config.SPAN, rounded=rounded))
    allocate = workspace(packed_elements(problem, packing, config.SPAN), getattr(torch, problem.dtype))

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        packed_input = allocate(x)
        repacking(x, x, None, packed_input)
        product(packed_input, weight, bias, out)

    return convolution_plan(problem, launch, pack)
