"""Which configs of implicit_gemm are worth trying, which first, and what they cost."""

from typing import NamedTuple

import triton
from tunedb.kernels.implicit_gemm.launch import Config, geometry_of
from tunedb.kernels.shared.compensated_sum import sum_length
from tunedb.kernels.shared.geometry import axes, residue_lengths
from tunedb.kernels.shared.searched_precisions import searched_precisions
from tunedb.kernels.shared.split_sum import splits

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem


class SeedTile(NamedTuple):
    """A tile that a search tries early, made smaller where the problem is."""

    columns: int
    channels: int
    depth: int  # of K a step
    num_warps: int


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if c_in == 1 and c_out <= 2 and problem.groups > 1:
        return {}  # depthwise: a matrix unit would multiply zeros
    depth, height, width = residue_lengths(problem, axes(problem))
    rows_there = triton.next_power_of_2(max(1, problem.n * depth * height))
    columns_there = min(256, triton.next_power_of_2(width))
    phases: tuple[str, ...] = ("slow",)
    if problem.transposed and max(problem.stride) > 1:
        phases = ("fast", "slow", "axis", "row")
    elif problem.groups > 1:
        phases = ("fast", "slow", "axis")
    rows_there = max(rows_there, 16 // columns_there)  # tl.dot needs at least 16 positions
    most_rows = min(rows_there, 16 if width < 256 else 4)
    loops: tuple[str, ...] = ("taps", "flat") if c_in <= 32 else ("taps",)
    if problem.layout == "channels_first" and c_in > 16 and max(problem.kernel) > 1:
        loops += ("channels",)  # not for channels_last: its 16-byte copies bypass L1
    return {
        "LOOP": loops,
        "PHASE": phases,
        "ORDER": ("m", "n", "swizzle") if c_out > 16 else ("m",),
        "SWAP": (0, 1),
        "BLOCK_R": tuple(size for size in (1, 2, 4, 8, 16) if size <= most_rows),
        "BLOCK_W": tuple(
            size for size in (8, 16, 32, 64, 128, 256) if columns_there // 8 <= size <= max(8, columns_there)
        ),
        "BLOCK_N": tuple(size for size in (16, 32, 64, 128, 256) if size < 2 * max(c_out, 9)),
        "BLOCK_K": (16, 32, 64) if problem.dtype == "float32" else (16, 32, 64, 128),
        "SPLIT": splits(problem, 4 * device.sm_count, sum_length(problem)),
        "DOT": searched_precisions(problem, device),
        "num_warps": (2, 4, 8),
        "num_stages": (2, 3, 4, 5),
    }


def default(problem: Problem, device: Device) -> Config | None:
    dims = space(problem, device)
    if not dims:
        return None
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    block_w = min(64, max(int(size) for size in dims["BLOCK_W"]))
    # At least 16 positions, even where the problem has fewer rows.
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
    wide = 128 if first.BLOCK_R == 1 else 64
    found = [
        first._replace(
            SWAP=0,
            BLOCK_W=min(first.BLOCK_W, shape.columns) * (shape.columns // 64),
            BLOCK_N=min(shape.channels, 2 * first.BLOCK_N),
            BLOCK_K=shape.depth,
            num_warps=shape.num_warps,
            num_stages=3,
        )
        for shape in (
            SeedTile(columns=128, channels=128, depth=16, num_warps=8),
            SeedTile(columns=wide, channels=128, depth=32, num_warps=4),
            SeedTile(columns=128, channels=64, depth=32, num_warps=4),
        )
    ]
    dims = space(problem, device)
    split = max(int(parts) for parts in dims["SPLIT"])
    if split > 1:
        phase = "slow" if first.PHASE == "axis" else first.PHASE
        found += [first._replace(SPLIT=parts, PHASE=phase, DOT=str(dot)) for parts in (split, max(2, split // 4)) for dot in dims["DOT"][:2]]  # fmt: skip
    return found


def work(problem: Problem, config: Config) -> Work:
    geometry = geometry_of(problem, config)
    item = ITEM_BYTES[problem.dtype]
    c_in = problem.c_in // problem.groups
    taps = 1.0  # of the average residue
    for axis in geometry:
        taps *= axis.taps / axis.residues
    if config.LOOP != "flat":
        k_steps = taps * -(-c_in // config.BLOCK_K)
    else:
        k_steps = taps * c_in / config.BLOCK_K + 0.5
    k_steps /= config.SPLIT
    positions = config.BLOCK_R * config.BLOCK_W
    first, width = problem.layout == "channels_first", geometry[2]
    x_item = min(32, item * (width.step if first else 1))
    # A part of a sum is stored as float32, and the second launch reads it again.
    y_item, read_again = (item, 0) if config.SPLIT == 1 else (4, positions * config.BLOCK_N * 4)
    depth = min(config.BLOCK_K, c_in) if config.LOOP != "flat" else config.BLOCK_K
    return Work(
        flops=int(
            2 * positions * config.BLOCK_N * config.BLOCK_K * k_steps * (3 if config.DOT == "tf32x3" else 1)
        ),
        unit="fma" if config.DOT == "ieee" and problem.dtype == "float32" else "tensor",
        loaded=int(k_steps * depth * (positions * x_item + config.BLOCK_N * item)) + read_again,
        stored=positions * config.BLOCK_N * min(32, y_item * (width.residues if first else 1)),
        k_steps=max(1, round(k_steps)),
        launches=1 if config.SPLIT == 1 else 2,
    )
