"""Which configs of packed are worth trying, which first, and what they cost."""

from typing import NamedTuple

import triton
from tunedb.kernels.packed.launch import WIDTHS, Config, grid_of, valid
from tunedb.kernels.packed.shape import closest, columns_of, is_ready, residues_of_row, runs_of
from tunedb.kernels.shared.packing import packed_elements, packing_of
from tunedb.kernels.shared.precision import dots
from tunedb.kernels.shared.searched_precisions import searched_precisions

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem


class Seed(NamedTuple):
    """A tile that was among the best on an H200; what the problem has not enough of makes it smaller."""

    span: str  # "one" output, "wide": as many as have at most 128 columns, or "half" as many
    swap: int
    block_m: int
    block_n: int  # at most
    block_k: int  # at most
    tiles: int
    num_warps: int
    num_stages: int  # at most


STRIDED_FLOAT32 = (
    Seed(span="one", swap=0, block_m=128, block_n=256, block_k=32, tiles=1, num_warps=8, num_stages=2),
    Seed(span="one", swap=1, block_m=64, block_n=64, block_k=32, tiles=1, num_warps=8, num_stages=5),
    Seed(span="one", swap=1, block_m=128, block_n=64, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=1, block_m=128, block_n=128, block_k=32, tiles=1, num_warps=8, num_stages=4),
)
STRIDED_16_BIT = (
    Seed(span="one", swap=1, block_m=128, block_n=128, block_k=32, tiles=1, num_warps=8, num_stages=4),
    Seed(span="one", swap=1, block_m=128, block_n=64, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=1, block_m=256, block_n=64, block_k=16, tiles=1, num_warps=4, num_stages=4),
    Seed(span="one", swap=1, block_m=64, block_n=64, block_k=64, tiles=1, num_warps=8, num_stages=4),
)
OLDER_FLOAT32 = (
    Seed(span="wide", swap=1, block_m=128, block_n=128, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="half", swap=1, block_m=256, block_n=64, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=0, block_m=256, block_n=64, block_k=16, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=0, block_m=128, block_n=128, block_k=16, tiles=1, num_warps=4, num_stages=4),
    Seed(span="one", swap=1, block_m=128, block_n=64, block_k=32, tiles=1, num_warps=4, num_stages=3),
)
OF_FLOAT32 = (
    Seed(span="wide", swap=1, block_m=256, block_n=128, block_k=32, tiles=1, num_warps=8, num_stages=4),
    Seed(span="wide", swap=1, block_m=128, block_n=128, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=0, block_m=128, block_n=128, block_k=16, tiles=1, num_warps=4, num_stages=5),
    Seed(span="half", swap=1, block_m=128, block_n=64, block_k=32, tiles=1, num_warps=4, num_stages=3),
    Seed(span="one", swap=0, block_m=256, block_n=64, block_k=32, tiles=1, num_warps=8, num_stages=5),
)
OF_16_BIT = (
    Seed(span="wide", swap=1, block_m=256, block_n=128, block_k=64, tiles=1, num_warps=8, num_stages=4),
    Seed(span="wide", swap=1, block_m=128, block_n=128, block_k=64, tiles=1, num_warps=4, num_stages=3),
    Seed(span="wide", swap=0, block_m=128, block_n=256, block_k=64, tiles=4, num_warps=8, num_stages=4),
    Seed(span="half", swap=1, block_m=128, block_n=64, block_k=64, tiles=1, num_warps=8, num_stages=4),
    Seed(span="one", swap=0, block_m=256, block_n=64, block_k=32, tiles=4, num_warps=4, num_stages=3),
)


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    packing = packing_of(problem)
    if packing is None or default(problem, device) is None:
        return {}
    c_out = problem.c_out // problem.groups
    side = packing.sides[packing.inner]
    out = problem.out_extents[packing.inner]
    # An output uses taps / (taps + SPAN - 1) of a window for SPAN outputs; the rest are zeros. Less than half cannot pay.
    most = side.taps + 1 if side.reach == 1 else 1
    spans = tuple(
        span for span in (1, 2, 4, 8) if span <= min(most, out) and (span == 1 or span * c_out <= 256)
    )
    if packing.strided:
        spans = (residues_of_row(packing),)
    counts = [columns_of(problem, packing, span) for span in spans]
    columns = counts[-1]
    return {
        "REPACK": (0, 1) if is_ready(problem, packing) else (1,),
        "SPAN": spans,
        "ORDER": ("m", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_M": (64, 128, 256),
        # Tiles narrower than the columns allow never won.
        "BLOCK_N": tuple(
            size
            for size in WIDTHS
            if min(48, columns if packing.strided else c_out) <= size < 2 * max(columns, 9)
            and (size % 3 or any(closest(size // 3 * 4, c) == size for c in counts))
        ),
        "BLOCK_K": (16, 32, 64),
        # float32 gains nothing from more tiles: its products take longer, and hide the store.
        "TILES": (1, 4) if problem.dtype != "float32" else (1,),
        "DOT": searched_precisions(problem, device),
        "num_warps": (4, 8),
        "num_stages": (3, 4, 5),
    }


def default(problem: Problem, device: Device) -> Config | None:
    packing = packing_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if packing is None or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return None
    config = Config(
        REPACK=1,
        SPAN=residues_of_row(packing),
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        BLOCK_M=64,
        BLOCK_N=min(
            64, max(16, triton.next_power_of_2(columns_of(problem, packing, residues_of_row(packing))))
        ),
        BLOCK_K=32 if runs_of(packing, 1)[0] > 16 else 16,
        TILES=1,
        DOT=dots(problem)[0],
        num_warps=4,
        num_stages=3,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200, in its own code or in sm_89's, with as many stages as fit."""
    first, packing = default(problem, device), packing_of(problem)
    if first is None or packing is None:
        return []
    spans = [int(span) for span in space(problem, device)["SPAN"]]
    c_out = problem.c_out // problem.groups
    wide = max((span for span in spans if span * c_out <= 128), default=spans[0])
    named = {"wide": wide, "half": max(wide // 2, spans[0]), "one": spans[0]}
    found = []
    for seed in _seeds(problem, device, strided=packing.strided):
        span = named[seed.span]
        columns = columns_of(problem, packing, span)
        depth = max(16, triton.next_power_of_2(runs_of(packing, span)[0]))
        config = Config(
            REPACK=1,
            SPAN=span,
            ORDER="swizzle" if c_out > 16 else "m",
            SWAP=seed.swap,
            BLOCK_M=seed.block_m,
            BLOCK_N=closest(min(seed.block_n, max(16, triton.next_power_of_2(columns))), columns),
            BLOCK_K=min(seed.block_k, depth),
            TILES=seed.tiles,
            DOT=first.DOT,
            num_warps=seed.num_warps,
            num_stages=seed.num_stages,
        )
        while config.num_stages > 2 and valid(problem, config, device):
            config = config._replace(num_stages=config.num_stages - 1)
        found.append(config)
    return found


def _seeds(problem: Problem, device: Device, *, strided: bool) -> tuple[Seed, ...]:
    if problem.dtype != "float32":
        return STRIDED_16_BIT if strided else OF_16_BIT
    if strided:
        return STRIDED_FLOAT32
    return OLDER_FLOAT32 if device.mma_sync else OF_FLOAT32


def work(problem: Problem, config: Config) -> Work:
    packing = packing_of(problem)
    assert packing is not None
    item = ITEM_BYTES[problem.dtype]
    run, runs = runs_of(packing, config.SPAN)
    steps = runs * -(-run // config.BLOCK_K) * config.TILES
    outputs = config.BLOCK_M * config.BLOCK_N
    # The pass that packs reads and writes the input once. Each program counts its share.
    moved = 2 * packed_elements(problem, packing, config.SPAN) * item if config.REPACK else 0
    return Work(
        flops=2 * outputs * config.BLOCK_K * steps * (3 if config.DOT == "tf32x3" else 1),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=steps * config.BLOCK_K * (config.BLOCK_M + config.BLOCK_N) * item
        + moved // max(1, grid_of(problem, config)[0]),
        stored=outputs * config.TILES * item,
        k_steps=steps,
        launches=1 + config.REPACK,
    )
