"""How kn2row is launched: its config, the problems it solves, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tunedb.kernels.kn2row.jit import Width, kn2row, lead
from tunedb.kernels.kn2row.weights import width_major, width_row
from tunedb.kernels.shared.geometry import axes, problem_constants
from tunedb.kernels.shared.limits import shape_flaw, shared_flaw, tile_flaw
from tunedb.kernels.shared.precision import dots

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw
from tunedb.problem import ITEM_BYTES, Problem


class Config(NamedTuple):
    """A tile is BLOCK_M input positions by BLOCK_N output channels, for TAPS width taps at a time."""

    # "taps": a step is BLOCK_K channels of one depth and height tap; "flat": BLOCK_K of all (tap, channel) pairs, for few
    # input channels.
    LOOP: str
    PHASE: str  # where residues of depth and height and groups go in the grid (tiles.outer_and_inner)
    ORDER: str  # of tiles (tiles.tile_order)
    SWAP: int  # 1: the accumulator is [channels, positions]; 0: [positions, channels]
    FLAT: int  # 1: a tile may run over the end of a row into the next, for short rows; 0: a tile lies in one row
    # Width taps that share one load of the input, each with an accumulator of its own. 0: the input is loaded again for each
    # shift, and each product is added to the sums of its residue at once.
    TAPS: int
    BLOCK_M: int  # positions of a tile
    BLOCK_N: int  # output channels of a tile
    BLOCK_K: int  # products of a step
    DOT: str  # input precision of tl.dot
    num_warps: int
    num_stages: int


def width_of(problem: Problem) -> Width | None:
    """Return the geometry of the width, or None where kn2row cannot solve it."""
    k, s, p, d = problem.k_w, problem.stride_w, problem.padding_w, problem.dilation_w
    if not problem.transposed:
        if s != 1:
            return None
        p = (k - 1) * d - p
    if p < 0:
        return None
    halo = (k - 1) * d // s
    align = 16 // ITEM_BYTES[problem.dtype] if problem.layout == "channels_first" else 1
    first = max(0, p // s - halo) // align * align
    reach = tuple((t if problem.transposed else k - 1 - t) * d for t in range(k))
    return Width(k, s, reach, p, halo, first, align)


def pitch(problem: Problem, width: Width) -> int:
    """Return how many positions a row takes: as many as its inputs and outputs, and zeros that separate it from the next row."""
    last = (problem.out_extents[2] - 1 + width.padding) // width.stride
    separate = problem.in_w + width.halo - width.padding // width.stride
    return -(-max(last + 1 - width.first, separate - width.first) // width.align) * width.align


def valid(problem: Problem, config: Config, device: Device) -> str:
    width = width_of(problem)
    if width is None:
        return "the width must have stride 1, or be transposed, and padding at most dilation * (kernel - 1) if it is not"
    names = {"LOOP": ("taps", "flat"), "PHASE": ("fast", "slow", "axis"), "ORDER": ("m", "n", "swizzle")}
    allowed = {
        **names,
        "SWAP": (0, 1),
        "FLAT": (0, 1),
        "DOT": dots(problem),
        "TAPS": tuple(range(width.taps + 1)),
    }
    if flaw := shape_flaw(config, allowed):
        return flaw
    repeated = lead(width.halo, width.align, config.TAPS)
    if 2 * repeated > config.BLOCK_M or repeated > pitch(problem, width):
        return f"BLOCK_M {config.BLOCK_M} must be at least twice the {repeated} positions that only feed their neighbours, and a row at least those"
    c_in = problem.c_in // problem.groups
    if config.LOOP == "taps" and 2 * max(16, c_in) <= config.BLOCK_K:
        return f"BLOCK_K {config.BLOCK_K} is twice the {c_in} input channels of a group"
    threads = config.num_warps * 32
    # If all taps share one loop, the sums of the residues begin only after it.
    residues = min(width.stride, width.taps) if width.taps > config.TAPS else 0
    owned = config.BLOCK_M * config.BLOCK_N * (config.TAPS + residues) // threads
    if not 4 <= owned <= (208 if problem.dtype != "float32" or config.DOT == "tf32" else 96):
        return f"a thread must keep 4 to 208 sums, but {config.num_warps} warps share {config.BLOCK_M} x {config.BLOCK_N} x {config.TAPS + residues}"
    if flaw := tile_flaw(config.num_warps, config.BLOCK_M, config.BLOCK_N, config.BLOCK_K):
        return flaw
    inputs, weights = (1, config.TAPS) if config.TAPS else (width.halo + 1, width.taps)
    elements = (inputs * config.BLOCK_M + weights * config.BLOCK_N) * config.BLOCK_K
    if flaw := shared_flaw(problem, device, config.num_stages, elements):
        return flaw
    if _rows(problem) * pitch(problem, width) * 8 >= 2**31:
        return "all rows together must have less than 2^28 positions"
    return launch_flaw(problem, _grid(problem, config))


def _rows(problem: Problem) -> int:
    """Return the output rows of the longest residue of depth and height, all samples."""
    depth, height, _ = axes(problem)
    out_d, out_h, _ = problem.out_extents
    return problem.n * -(-out_d // depth.residues) * -(-out_h // height.residues)


def signature(problem: Problem, config: Config) -> Signature:
    width = width_of(problem)
    assert width is not None
    constexprs: dict[str, Any] = {
        "PROBLEM": problem_constants(problem, axes(problem)),
        "WIDTH": width,
        "W_ROW": width_row(problem),
        "CONFIG": config,
    }
    return convolution_arguments(problem).signature(
        kn2row, constexprs, _grid(problem, config), config.num_warps, config.num_stages
    )


def _grid(problem: Problem, config: Config) -> tuple[int, int, int]:
    width = width_of(problem)
    assert width is not None
    depth, height, _ = axes(problem)
    step = config.BLOCK_M - lead(width.halo, width.align, config.TAPS)
    row = pitch(problem, width)
    tiles = -(-_rows(problem) * row // step) if config.FLAT else _rows(problem) * -(-row // step)
    num_n = -(-(problem.c_out // problem.groups) // config.BLOCK_N)
    outer = depth.residues * height.residues * problem.groups
    inner, second = (tiles, num_n) if config.ORDER == "m" else (tiles * num_n, 1)
    return (inner, second, outer) if config.PHASE == "axis" else (inner * outer, second, 1)


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    return convolution_plan(
        problem, launcher(signature(problem, config)), width_major(problem, rounded=config.DOT == "tf32")
    )
