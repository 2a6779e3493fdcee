"""Convolution as a matrix product over a packed input, in which every window is a few contiguous runs.

The input is rewritten once (kernels/repack.py): border zeros in place, channels innermost and padded, float32 rounded
to TF32. Loads of the product then need no mask and no address arithmetic but one addition, whatever the padding, the
number of input channels or the layout. It pays where the product is much dearer than one pass over the input.
"""

from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import triton
from tunedb.kernels.geometry import is_large, shape_flaw
from tunedb.kernels.packed_jit import packed
from tunedb.kernels.precision import dots, worth_trying
from tunedb.kernels.repack import (
    ROW_ALIGN,
    Packing,
    packed_elements,
    packing_of,
    repack_signature,
)

from tunedb.device import Device
from tunedb.kernel import Run, Signature, Work
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.problem import OPS as ALL_OPS
from tunedb.weights import window_major, window_row

if TYPE_CHECKING:
    from torch import Tensor

OPS = ALL_OPS
LARGEST = 1 << 33  # bytes of the packed input


class Config(NamedTuple):
    """A tile is BLOCK_M spans of SPAN neighbouring outputs by BLOCK_N of their SPAN * channels sums."""

    REPACK: int  # 0: the input already is as the product wants it, float32 rounded in the loop
    SPAN: int  # outputs along the inner axis that share a window; more columns for problems of few output channels
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    packing = packing_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if packing is None or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return {}
    side = packing[packing.inner]
    out = problem.out_extents[packing.inner]
    # Of a window for SPAN outputs only taps / (taps + SPAN - 1) is theirs: below a half it cannot pay.
    most = side.taps + 1 if side.reach == 1 else 1
    spans = tuple(
        span for span in (1, 2, 4, 8) if span <= min(most, out) and (span == 1 or span * c_out <= 256)
    )
    return {
        "REPACK": (0, 1) if _ready(problem, packing) else (1,),
        "SPAN": spans,
        "ORDER": ("m", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_M": (64, 128, 256),
        # Narrower tiles than the columns allow never won.
        "BLOCK_N": tuple(
            size for size in (16, 32, 64, 128, 256) if min(64, c_out) <= size < 2 * max(c_out * spans[-1], 9)
        ),
        "BLOCK_K": (16, 32, 64),
        "DOT": worth_trying(problem),
        "num_warps": (4, 8),
        "num_stages": (2, 3, 4, 5),
    }


def valid(problem: Problem, config: Config, device: Device) -> str:
    packing = packing_of(problem)
    if packing is None:
        return "a transposed convolution must have stride 1"
    names = {"REPACK": (0, 1), "ORDER": ("m", "n", "swizzle"), "SWAP": (0, 1), "DOT": dots(problem)}
    if flaw := shape_flaw(config, names):
        return flaw
    side, out = packing[packing.inner], problem.out_extents[packing.inner]
    if config.SPAN > 1 and (side.reach > 1 or min(16, config.BLOCK_N) < config.SPAN):
        return f"SPAN must be 1 where the inner axis is dilated, and at most 16 and BLOCK_N, but is {config.SPAN}"
    if not config.REPACK and not (_ready(problem, packing) and out % config.SPAN == 0):
        return "without REPACK the input must be channels_last, without borders, of aligned channels, and SPAN divide the outputs"
    c_out = problem.c_out // problem.groups
    if 2 * max(16, c_out * config.SPAN) <= config.BLOCK_N:
        return f"BLOCK_N {config.BLOCK_N} is twice the {c_out} channels of {config.SPAN} outputs"
    if not 16 <= config.BLOCK_M <= 512 or not 16 <= config.BLOCK_N <= 256 or not 16 <= config.BLOCK_K <= 256:
        return f"a tile must have 16 to 512 positions and 16 to 256 channels, but has {config.BLOCK_M}, {config.BLOCK_N} and {config.BLOCK_K}"
    run, _ = _runs(packing, config.SPAN)
    if 2 * max(16, run) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {run} elements of a run"
    threads = config.num_warps * 32
    most = 128 if problem.dtype != "float32" or config.DOT == "tf32" else 64
    if not 4 <= config.BLOCK_M * config.BLOCK_N // threads <= most:
        return f"a thread must own 4 to {most} outputs, but {config.num_warps} warps share {config.BLOCK_M} x {config.BLOCK_N}"
    if max(config.BLOCK_M, config.BLOCK_N) * config.BLOCK_K // threads > 64:
        return f"{config.num_warps} warps are too few to load tiles of {config.BLOCK_M} and {config.BLOCK_N} by {config.BLOCK_K}"
    stages = config.num_stages if device.capability >= 90 else max(config.num_stages - 1, 1)
    shared = stages * (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * ITEM_BYTES[problem.dtype]
    if shared > device.shared_block:
        return f"{config.num_stages} stages need {shared} bytes of shared memory, but a block has {device.shared_block}"
    if packed_elements(problem, packing, config.SPAN) * ITEM_BYTES[problem.dtype] > LARGEST:
        return f"the packed input must take at most {LARGEST >> 30} GiB"
    if packed_elements(problem, packing, config.SPAN) >= 2**31 * problem.n * problem.groups > 0:
        return "one sample of the packed input must have fewer than 2^31 elements"
    depth, height, width = problem.out_extents
    if problem.n * depth * height * width >= 2**31 - 4096:
        return "all outputs of a channel must be fewer than 2^31"
    repacking = repack_signature(problem, packing, config.SPAN, rounded=False).grid
    return launch_flaw(problem, _grid(problem, config)) or launch_flaw(problem, repacking)


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    packing = packing_of(problem)
    if not dims or packing is None:
        return None
    c_out = problem.c_out // problem.groups
    config = Config(
        REPACK=1,
        SPAN=1,
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        BLOCK_M=64,
        BLOCK_N=min(64, max(16, triton.next_power_of_2(c_out))),
        BLOCK_K=32 if _runs(packing, 1)[0] > 16 else 16,
        DOT=str(dims["DOT"][0]),
        num_warps=4,
        num_stages=3,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200, with as few stages as the device needs."""
    first, packing = default(problem, device), packing_of(problem)
    if first is None or packing is None:
        return []
    spans = [int(span) for span in space(problem, device)["SPAN"]]
    c_out = problem.c_out // problem.groups
    wide = max((span for span in spans if span * c_out <= 128), default=1)
    depth = min(64, max(16, triton.next_power_of_2(_runs(packing, 1)[0])))
    if problem.dtype == "float32":
        tiles = ((wide, 0, 128, 128, 32, 8, 5), (wide, 0, 128, 128, 32, 8, 3), (wide, 1, 64, 128, 32, 4, 4), (1, 1, 256, 64, 32, 4, 3), (1, 0, 128, 64, 32, 4, 4))  # fmt: skip
    else:
        tiles = ((wide, 1, 128, 128, 32, 4, 4), (wide, 0, 128, 128, 64, 8, 4), (1, 0, 256, 64, 32, 4, 4), (1, 1, 128, 128, 64, 4, 3))  # fmt: skip
    found = []
    for span, swap, m, n, k, warps, stages in tiles:
        columns = max(16, triton.next_power_of_2(span * c_out))
        config = Config(1, span, "swizzle" if c_out > 16 else "m", swap, m, min(n, columns), min(k, depth), first.DOT, warps, stages)  # fmt: skip
        while config.num_stages > 2 and valid(problem, config, device):
            config = config._replace(num_stages=config.num_stages - 1)
        found.append(config)
    return found


def _ready(problem: Problem, packing: Packing) -> bool:
    """Return whether the input as it is has the layout that repacking would give, longer rows aside."""
    borders = any(side.lead for side in packing[:3]) or problem.transposed
    rows = (problem.in_d, problem.in_h, problem.in_w)[packing.inner] * problem.c_in % ROW_ALIGN == 0
    return (
        problem.layout == "channels_last"
        and packing.inner == 2
        and problem.groups == 1
        and packing.channels == problem.c_in
        and not borders
        and rows
    )


def _runs(packing: Packing, span: int) -> tuple[int, int]:
    """Return the elements of a contiguous run of a window of `span` outputs, and how many runs a window has."""
    side = packing[packing.inner]
    together = (span - 1) * side.step + side.taps if side.reach == 1 else 1
    taps = packing.depth.taps * packing.height.taps * packing.width.taps
    return together * packing.channels, taps // (side.taps if side.reach == 1 else 1)


def _spans(problem: Problem, packing: Packing, span: int) -> int:
    extents = list(problem.out_extents)
    extents[packing.inner] = -(-extents[packing.inner] // span)
    return problem.n * extents[0] * extents[1] * extents[2]


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    packing = packing_of(problem)
    assert packing is not None
    tiles = -(-_spans(problem, packing, config.SPAN) // config.BLOCK_M)
    num_n = -(-(problem.c_out // problem.groups * config.SPAN) // config.BLOCK_N)
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return inner, second, problem.groups


def signature(problem: Problem, config: Config) -> Signature:
    packing = packing_of(problem)
    assert packing is not None
    run, runs = _runs(packing, config.SPAN)
    depth, height, width = problem.out_extents
    constexprs: dict[str, Any] = {
        "C_OUT": problem.c_out // problem.groups,
        "GROUPS": problem.groups,
        "SIDE_D": packing.depth,
        "SIDE_H": packing.height,
        "SIDE_W": packing.width,
        "INNER": packing.inner,
        "CHANNELS": packing.channels,
        "RUN": run,
        "RUNS": runs,
        "WINDOW_ROW": window_row(run),
        "WHOLE": int(problem.out_extents[packing.inner] % config.SPAN == 0),
        "EVEN_OUT": gcd(depth * height * width, 16),
        "HAS_BIAS": problem.bias,
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
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
    run, runs = _runs(packing, config.SPAN)
    steps = runs * -(-run // config.BLOCK_K)
    outputs = config.BLOCK_M * config.BLOCK_N
    grid = _grid(problem, config)
    # The pass that packs reads and writes the input once: its share of a program.
    moved = 2 * packed_elements(problem, packing, config.SPAN) * item if config.REPACK else 0
    return Work(
        flops=2 * outputs * config.BLOCK_K * steps * (3 if config.DOT == "tf32x3" else 1),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=steps * config.BLOCK_K * (config.BLOCK_M + config.BLOCK_N) * item
        + moved // max(1, grid[0] * grid[1] * grid[2]),
        stored=outputs * item,
        k_steps=steps,
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    packing = packing_of(problem)
    assert packing is not None
    rounded = config.DOT == "tf32"
    product = launcher(signature(problem, config))
    pack = window_major(problem, packing.inner, packing.channels, config.SPAN, rounded=rounded)
    if not config.REPACK:
        return convolution_plan(problem, product, pack)
    repacking = launcher(repack_signature(problem, packing, config.SPAN, rounded=rounded))
    elements, dtype = packed_elements(problem, packing, config.SPAN), getattr(torch, problem.dtype)

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        room = torch.empty(elements, dtype=dtype, device=x.device)
        repacking(x, x, None, room)
        product(room, weight, bias, out)

    return convolution_plan(problem, launch, pack)
