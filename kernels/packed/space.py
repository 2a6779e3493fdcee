"""Which configs of packed are worth trying, which first, and what they cost."""

import triton
from tunedb.kernels.packed.launch import WIDTHS, Config, grid_of, valid
from tunedb.kernels.packed.shape import closest, columns_of, is_ready, runs_of, together_of
from tunedb.kernels.shared.packing import packed_elements, packing_of
from tunedb.kernels.shared.precision import dots, worth_trying

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem


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
    elif device.mma_sync and problem.dtype == "float32":
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
        + moved // max(1, grid_of(problem, config)[0]),
        stored=outputs * config.TILES * item,
        k_steps=steps,
        launches=1 + config.REPACK,
    )
