"""Convolution as a matrix product over a packed input, in which every window is a few contiguous runs.

The input is rewritten once (kernels/repack.py): border zeros in place, channels innermost and padded, float32 rounded
to TF32. Loads of the product then need no mask and no address arithmetic but one addition, whatever the padding, the
number of input channels or the layout. It pays where the product is much dearer than one pass over the input.
"""

import math
from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import triton
from tunedb.kernels.bounds import shape_flaw, shared_flaw, tile_flaw
from tunedb.kernels.geometry import is_large
from tunedb.kernels.packed_jit import packed
from tunedb.kernels.packed_shape import closest, columns_of, is_ready, runs_of, together_of
from tunedb.kernels.packing import layout_constants, packed_elements, packing_of
from tunedb.kernels.precision import dots, worth_trying
from tunedb.kernels.repack import repack_signature

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import residue_major, window_major, window_row

if TYPE_CHECKING:
    from torch import Tensor

OPS = ALL_OPS
LARGEST = 1 << 33  # bytes of the packed input
WIDTHS = (16, 32, 48, 64, 96, 128, 192, 256)  # of a tile, in columns


class Config(NamedTuple):
    """A tile is BLOCK_M spans of SPAN neighbouring outputs by BLOCK_N of their SPAN * channels sums.

    BLOCK_N is a power of two or three times one, of which the matrix unit then makes two products that share positions.
    """

    REPACK: int  # 0: the input already is as the product wants it, float32 rounded in the loop
    SPAN: int  # outputs along the inner axis that share a window; more columns for problems of few output channels
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    TILES: int  # that a program makes, one after the other
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    packing = packing_of(problem)
    if packing is None or default(problem, device) is None:
        return {}
    c_out = problem.c_out // problem.groups
    side = packing[packing.inner]
    out = problem.out_extents[packing.inner]
    # Of a window for SPAN outputs only taps / (taps + SPAN - 1) is theirs: below a half it cannot pay.
    most = side.taps + 1 if side.reach == 1 else 1
    spans = tuple(
        span for span in (1, 2, 4, 8) if span <= min(most, out) and (span == 1 or span * c_out <= 256)
    )
    if packing.strided:
        spans = (together_of(packing),)
    counts = [columns_of(problem, packing, span) for span in spans]
    columns = counts[-1]
    return {
        "REPACK": (0, 1) if is_ready(problem, packing) else (1,),
        "SPAN": spans,
        "ORDER": ("m", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_M": (64, 128, 256),
        # Narrower tiles than the columns allow never won.
        "BLOCK_N": tuple(
            size
            for size in WIDTHS
            if min(48, columns if packing.strided else c_out) <= size < 2 * max(columns, 9)
            and (size % 3 or any(closest(size // 3 * 4, c) == size for c in counts))
        ),
        "BLOCK_K": (16, 32, 64),
        "TILES": (1, 4)
        if problem.dtype != "float32"
        else (1,),  # the longer products of float32 gain nothing
        "DOT": worth_trying(problem),
        "num_warps": (4, 8),
        "num_stages": (3, 4, 5),
    }


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
    side, out = packing[packing.inner], problem.out_extents[packing.inner]
    if packing.strided:
        if together_of(packing) != config.SPAN or config.SPAN > config.BLOCK_N or not config.REPACK:
            return f"SPAN must hold the residues of a row, {together_of(packing)}, with REPACK, but is {config.SPAN}"
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
    return launch_flaw(problem, _grid(problem, config)) or launch_flaw(problem, repacking)


def default(problem: Problem, device: Device) -> Config | None:
    packing = packing_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if packing is None or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return None
    config = Config(
        REPACK=1,
        SPAN=together_of(packing),
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        BLOCK_M=64,
        BLOCK_N=min(64, max(16, triton.next_power_of_2(columns_of(problem, packing, together_of(packing))))),
        BLOCK_K=32 if runs_of(packing, 1)[0] > 16 else 16,
        TILES=1,
        DOT=dots(problem)[0],
        num_warps=4,
        num_stages=3,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200, as its own code or as sm_89's, with as few stages as fit."""
    first, packing = default(problem, device), packing_of(problem)
    if first is None or packing is None:
        return []
    spans = [int(span) for span in space(problem, device)["SPAN"]]
    c_out = problem.c_out // problem.groups
    wide = max((span for span in spans if span * c_out <= 128), default=spans[0])
    half, one = max(wide // 2, spans[0]), spans[0]
    if packing.strided and problem.dtype == "float32":
        tiles = ((one, 0, 128, 256, 32, 1, 8, 2), (one, 1, 64, 64, 32, 1, 8, 5), (one, 1, 128, 64, 32, 1, 4, 3), (one, 1, 128, 128, 32, 1, 8, 4))  # fmt: skip
    elif packing.strided:
        tiles = ((one, 1, 128, 128, 32, 1, 8, 4), (one, 1, 128, 64, 32, 1, 4, 3), (one, 1, 256, 64, 16, 1, 4, 4), (one, 1, 64, 64, 64, 1, 8, 4))  # fmt: skip
    elif device.capability < 90 and problem.dtype == "float32":
        tiles = ((wide, 1, 128, 128, 32, 1, 4, 3), (half, 1, 256, 64, 32, 1, 4, 3), (one, 0, 256, 64, 16, 1, 4, 3), (one, 0, 128, 128, 16, 1, 4, 4), (one, 1, 128, 64, 32, 1, 4, 3))  # fmt: skip
    elif problem.dtype == "float32":
        tiles = ((wide, 1, 256, 128, 32, 1, 8, 4), (wide, 1, 128, 128, 32, 1, 4, 3), (one, 0, 128, 128, 16, 1, 4, 5), (half, 1, 128, 64, 32, 1, 4, 3), (one, 0, 256, 64, 32, 1, 8, 5))  # fmt: skip
    else:
        tiles = ((wide, 1, 256, 128, 64, 1, 8, 4), (wide, 1, 128, 128, 64, 1, 4, 3), (wide, 0, 128, 256, 64, 4, 8, 4), (half, 1, 128, 64, 64, 1, 8, 4), (one, 0, 256, 64, 32, 4, 4, 3))  # fmt: skip
    found = []
    for span, swap, m, most, k, count, warps, stages in tiles:
        columns = columns_of(problem, packing, span)
        n = closest(min(most, max(16, triton.next_power_of_2(columns))), columns)
        depth = max(16, triton.next_power_of_2(runs_of(packing, span)[0]))
        config = Config(1, span, "swizzle" if c_out > 16 else "m", swap, m, n, min(k, depth), count, first.DOT, warps, stages)  # fmt: skip
        while config.num_stages > 2 and valid(problem, config, device):
            config = config._replace(num_stages=config.num_stages - 1)
        found.append(config)
    return found


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    """Return the programs that the product takes."""
    packing = packing_of(problem)
    assert packing is not None
    counts = list(packing.periods)
    if not packing.strided:
        counts[packing.inner] = config.SPAN
    spots = [-(-out // count) for out, count in zip(problem.out_extents, counts, strict=True)]
    tiles = -(-problem.n * math.prod(spots) // (config.BLOCK_M * config.TILES))
    return tiles * -(-columns_of(problem, packing, config.SPAN) // config.BLOCK_N) * problem.groups, 1, 1


def signature(problem: Problem, config: Config) -> Signature:
    packing = packing_of(problem)
    assert packing is not None
    run, runs = runs_of(packing, config.SPAN)
    depth, height, width = problem.out_extents
    constexprs: dict[str, Any] = {
        **layout_constants(problem, packing, config.SPAN),
        "STRIDED": int(packing.strided),
        "C_OUT": problem.c_out // problem.groups,
        "RUN": run,
        "RUNS": runs,
        "WINDOW_ROW": window_row(run),
        "WHOLE": int(problem.out_extents[packing.inner] % config.SPAN == 0),
        "EVEN_OUT": gcd(depth * height * width, 16),
        "EVEN_ROW": gcd(width, 16),
        "HAS_BIAS": problem.bias,
        "LARGE": int(is_large(problem)),
        **{field: value for field, value in config._asdict().items() if not field.startswith("num_")},
    }
    return convolution_arguments(problem).signature(
        packed, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def work(problem: Problem, config: Config) -> Work:
    packing = packing_of(problem)
    assert packing is not None
    item = ITEM_BYTES[problem.dtype]
    run, runs = runs_of(packing, config.SPAN)
    steps = runs * -(-run // config.BLOCK_K) * config.TILES
    outputs = config.BLOCK_M * config.BLOCK_N
    # The pass that packs reads and writes the input once: its share of a program.
    moved = 2 * packed_elements(problem, packing, config.SPAN) * item if config.REPACK else 0
    return Work(
        flops=2 * outputs * config.BLOCK_K * steps * (3 if config.DOT == "tf32x3" else 1),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=steps * config.BLOCK_K * (config.BLOCK_M + config.BLOCK_N) * item
        + moved // max(1, _grid(problem, config)[0]),
        stored=outputs * config.TILES * item,
        k_steps=steps,
        launches=1 + config.REPACK,
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    packing = packing_of(problem)
    assert packing is not None
    rounded = config.DOT == "tf32"
    if packing.strided:
        pack = residue_major(
            problem, packing.residues, packing[:3], packing.channels, config.SPAN, rounded=rounded
        )
    else:
        pack = window_major(problem, packing.inner, packing.channels, config.SPAN, rounded=rounded)
    product = launcher(signature(problem, config))
    if not config.REPACK:
        return convolution_plan(problem, product, pack)
    repacking = launcher(repack_signature(problem, packing, config.SPAN, rounded=rounded))
    elements = packed_elements(problem, packing, config.SPAN)
    dtype = getattr(torch, problem.dtype)

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        room = torch.empty(elements, dtype=dtype, device=x.device)
        repacking(x, x, None, room)
        product(room, weight, bias, out)

    return convolution_plan(problem, launch, pack)
