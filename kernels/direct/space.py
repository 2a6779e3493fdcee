"""Which configs of direct are worth trying, which first, and what they cost."""

from tunedb.kernels.direct.launch import TOGETHER, Config, folded, unrolling_flaw, valid
from tunedb.kernels.shared.compensated_sum import worth_compensating
from tunedb.kernels.shared.geometry import axes, residue_lengths

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem

# Compensation costs time and lowers the error. A search without a GPU sees only the time, so it leaves it out.
UNPREDICTED = {"COMPENSATED": 0}


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    del device
    problem = folded(problem)
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if c_in * c_out > 32 * 64 or (c_in == 1 and problem.groups > 1) or unrolling_flaw(problem):
        return {}  # many channels: a matrix unit is 5 to 16 times as fast; depthwise has its own kernel
    length = residue_lengths(problem, axes(problem))[2]
    return {
        "COLS": tuple(size for size in (1, 2, 4, 8) if size < 2 * length),
        "BLOCK_N": tuple(size for size in (1, 2, 4, 8, 16) if size < 2 * c_out),
        "COMPENSATED": worth_compensating(problem),
        "num_warps": (1, 2, 4, 8),
    }


def default(problem: Problem, device: Device) -> Config | None:
    problem = folded(problem)
    dims = space(problem, device)
    if not dims:
        return None
    most = int(dims["COLS"][-1]), int(dims["BLOCK_N"][-1])
    for cols, channels in ((4, 4), (2, 4), (1, 4), (1, 2), (1, 1)):
        config = Config(COLS=min(cols, most[0]), BLOCK_N=min(channels, most[1]), COMPENSATED=0, num_warps=4)
        if not valid(problem, config, device):
            return config
    return None


def seeds(problem: Problem, device: Device) -> list[Config]:
    """Return the best configs on an H200 for 3 to 8 channels a group, and compensated sums, to be as exact as torch."""
    most = problem.c_out // problem.groups
    tried = [
        Config(COLS=4, BLOCK_N=16, COMPENSATED=0, num_warps=1),
        Config(COLS=4, BLOCK_N=8, COMPENSATED=0, num_warps=4),
        Config(COLS=4, BLOCK_N=4, COMPENSATED=0, num_warps=1),
        Config(COLS=2, BLOCK_N=8, COMPENSATED=0, num_warps=1),
    ]
    first = default(problem, device)
    if first is not None and 1 in worth_compensating(problem):
        tried += [
            first._replace(COLS=cols, COMPENSATED=1) for cols in dict.fromkeys((max(1, first.COLS // 2), 1))
        ]
    return [config for config in tried if 2 * most > config.BLOCK_N]


def work(problem: Problem, config: Config) -> Work:
    problem = folded(problem)
    depth, height, width = axes(problem)
    item, threads = ITEM_BYTES[problem.dtype], 32 * config.num_warps
    rows = depth.taps / depth.residues * height.taps / height.residues * (problem.c_in // problem.groups)
    products = config.COLS * width.taps * config.BLOCK_N
    # Inputs that neighbouring threads share, and weights after their first load, come from L1. A load of a weight, the same
    # for 32 threads, takes as long as four of its products: a step took about so much longer, measured on an H200.
    slower = 1 + 4 / config.COLS
    loads = threads * config.COLS * width.step * item + width.taps * config.BLOCK_N * item
    spread = problem.c_out // problem.groups if problem.layout == "channels_last" else config.BLOCK_N
    added = 4 * config.COMPENSATED * config.COLS * width.residues * config.BLOCK_N / TOGETHER
    return Work(
        flops=int(2 * threads * (products * slower + added) * max(1.0, rows)),
        unit="fma",
        loaded=int(max(1.0, rows) * loads),
        stored=threads * config.COLS * width.residues * min(spread, config.BLOCK_N) * item,
        k_steps=max(1, round(rows / TOGETHER)),
    )
