"""Which configs of kn2row are worth trying, which first, and what they cost."""

from tunedb.kernels.kn2row.launch import Config, pitch, valid, width_of
from tunedb.kernels.shared.geometry import axes
from tunedb.kernels.shared.precision import dots
from tunedb.kernels.shared.searched_precisions import searched_precisions

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    width = width_of(problem)
    if width is None or default(problem, device) is None:
        return {}
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    outer = problem.groups * problem.stride_d * problem.stride_h
    # A thread keeps the sums of all residues, so that a longer stride needs a smaller tile.
    kept = min(width.stride, width.taps)
    most = 64 if problem.precision == "ieee" and problem.dtype == "float32" else 128
    taps = {0, *(-(-width.taps // parts) for parts in (1, 2, width.taps))}
    return {
        "LOOP": ("taps", "flat") if c_in <= 32 else ("taps",),
        "PHASE": ("fast", "slow") if outer > 1 else ("slow",),
        "ORDER": ("m", "n") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "FLAT": (0, 1) if pitch(problem, width) < 1024 else (0,),
        "TAPS": tuple(sorted(count for count in taps if count <= 1 or 4 * (count + kept) <= most)),
        "BLOCK_M": tuple(size for size in (32, 64, 128) if size * kept <= 8 * most or size == 64),
        "BLOCK_N": tuple(
            size
            for size in (16, 32, 64)
            if size < 2 * max(c_out, 9) and (size * kept <= 2 * most or size == 16)
        ),
        "BLOCK_K": (16, 32, 64) if c_in > 32 else (16, 32),
        "DOT": searched_precisions(problem, device),
        "num_warps": (4, 8),
        "num_stages": (2, 3, 4),
    }


def default(problem: Problem, device: Device) -> Config | None:
    width = width_of(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if width is None or width.stride == 1 or (c_in == 1 and c_out <= 2 and problem.groups > 1):
        return None  # where the stride is 1 `packed` is faster (docs/experiments.md)
    block_m = 64
    while block_m < 2 * (width.halo + width.align):
        block_m *= 2
    config = Config(
        LOOP="flat" if c_in <= 8 else "taps",
        PHASE="fast" if problem.groups * problem.stride_d * problem.stride_h > 1 else "slow",
        ORDER="m",
        SWAP=int(problem.layout == "channels_first"),
        FLAT=int(pitch(problem, width) < 2 * block_m),
        TAPS=1,
        BLOCK_M=block_m,
        BLOCK_N=16 if c_out <= 16 or width.stride > 2 else 32,
        BLOCK_K=32 if c_in > 16 or c_in <= 8 else 16,
        DOT=dots(problem)[0],
        num_warps=4,
        num_stages=2,
    )
    return None if valid(problem, config, device) else config


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return tiles that were among the best on an H200."""
    first, width = default(problem, device), width_of(problem)
    if first is None or width is None:
        return []
    c_in = problem.c_in // problem.groups
    tiles: tuple[dict[str, int], ...] = (
        {"SWAP": 1, "TAPS": width.taps, "BLOCK_M": 64, "BLOCK_N": 16, "BLOCK_K": 32, "num_stages": 3},
        {"SWAP": 0, "TAPS": width.taps, "BLOCK_M": 128, "BLOCK_N": 32, "BLOCK_K": 16, "num_stages": 2},
        {"SWAP": 0, "TAPS": 1, "BLOCK_M": 128, "BLOCK_N": 32, "BLOCK_K": 32, "num_stages": 4},
        {"SWAP": 0, "TAPS": 0, "BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32, "num_stages": 2},
        {"SWAP": 1, "TAPS": 0, "BLOCK_M": 64, "BLOCK_N": 16, "BLOCK_K": 32, "num_stages": 2},
    )
    return [first._replace(**tile | {"BLOCK_K": min(tile["BLOCK_K"], max(16, c_in))}) for tile in tiles]


def work(problem: Problem, config: Config) -> Work:
    width = width_of(problem)
    assert width is not None
    item = ITEM_BYTES[problem.dtype]
    c_in = problem.c_in // problem.groups
    depth, height, _ = axes(problem)
    taps = depth.taps / depth.residues * height.taps / height.residues
    if config.LOOP == "taps":
        depth_k, k_steps = min(config.BLOCK_K, c_in), taps * -(-c_in // config.BLOCK_K)
    else:
        depth_k, k_steps = config.BLOCK_K, taps * c_in / config.BLOCK_K + 0.5
    parts = -(-width.taps // config.TAPS) if config.TAPS else width.halo + 1
    outputs = config.BLOCK_M * config.BLOCK_N
    return Work(
        flops=int(2 * outputs * config.BLOCK_K * k_steps * width.taps * (3 if config.DOT == "tf32x3" else 1)),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=int(k_steps * depth_k * (parts * config.BLOCK_M + width.taps * config.BLOCK_N) * item),
        stored=outputs * width.stride * item,
        k_steps=max(1, round(k_steps * parts)),
    )
