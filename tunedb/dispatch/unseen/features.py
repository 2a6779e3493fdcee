"""What the trees see: a problem on a device as numbers, and a config for it as more numbers.

Sizes and times are base-2 logarithms, times in microseconds. Nothing here compiles or runs anything.
"""

from math import ceil, log2, prod
from typing import Any

from tunedb.device import Device, floor_us
from tunedb.device import rate as rate_of
from tunedb.kernel import load
from tunedb.problem import ITEM_BYTES, Problem

__all__ = ["CONFIG", "PROBLEM", "config_features", "floor_log", "problem_features", "scale_log"]

PROBLEM = (
    "floor", "arithmetic", "memory", "balance", "rank", "transposed", "sixteen", "tf32", "last", "n", "c_in", "c_out", "groups",
    "depthwise", "taps", "k_w", "k_h", "k_d", "stride_w", "strides", "dilation", "positions", "out_w", "out_h", "out_d",
    "even_in", "even_out", "even_in_w", "even_out_w", "padded", "inputs", "outputs", "weights", "rows", "depth", "bias", "bandwidth",
)  # fmt: skip
CONFIG = (
    "kernel", "tensor", "programs", "resident", "waves", "tail", "tail_sm", "executed", "over", "loaded", "stored", "k_steps",
    "launches", "busy", "l2", "waiting", "modelled", "block_m", "block_n", "block_k", "num_warps", "stages", "sums", "split",
    "tiles", "swap", "repack", "span", "lines", "high", "stack", "kept", "dot", "phase", "loop", "order", "compensated",
)  # fmt: skip
LAUNCH_US = (
    4.0  # of a kernel that does next to nothing; 2 to 6 predict alike (docs/experiments.md, 2026-11-28)
)
KERNELS = ("depthwise", "direct", "implicit_gemm", "kn2row", "packed", "shared_rows", "cudnn_last")
_WORDS = {
    "DOT": ("tf32", "ieee", "tf32x3"),
    "PHASE": ("slow", "fast", "axis", "row", "mask"),
    "LOOP": ("taps", "channels", "flat"),
    "ORDER": ("m", "n", "swizzle"),
}
# The arithmetic of tunedb/tune/predict/formula.py without the compiler's facts, in seconds and bytes; trees put its parts together.
_MEMORY_S, _LOAD_S, _LAUNCH_S, _L2_BYTES_PER_CLOCK = 0.6e-6, 0.3e-6, 2e-6, 20


def _log(value: float) -> float:
    return log2(value) if value > 1e-9 else -30.0


def _even(value: int) -> int:
    """Return the largest power of two, up to 32, that divides a size."""
    return min(32, value & -value) if value else 32


def floor_log(problem: Problem, device: Device) -> float:
    """Return log2 of the hardware floor in microseconds."""
    return _log(floor_us(problem, device))


def scale_log(problem: Problem, device: Device) -> float:
    """Return log2 of what times are learned as multiples of, in microseconds: the hardware floor and what a launch takes.

    The floor alone says nothing of small problems: of one pixel it is a nanosecond, and every kernel takes 5 us.
    """
    return log2(floor_us(problem, device) + LAUNCH_US)


def problem_features(problem: Problem, device: Device) -> list[float]:
    """Return the numbers of PROBLEM."""
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    depth, height, width = problem.out_extents
    taps, strides, item = prod(problem.kernel), prod(problem.stride), ITEM_BYTES[problem.dtype]
    arithmetic, memory = (
        1e6 * problem.flops / rate_of(problem, device),
        1e6 * problem.bytes / device.bandwidth,
    )
    positions = problem.n * depth * height * width
    residues = strides if problem.transposed else 1
    return [
        _log(max(arithmetic, memory)), _log(arithmetic), _log(memory), _log(arithmetic / max(memory, 1e-9)),
        problem.rank, problem.transposed, problem.dtype != "float32", problem.precision == "tf32", problem.layout == "channels_last",
        _log(problem.n), _log(c_in), _log(c_out), _log(problem.groups), problem.groups > 1 and c_in == 1,
        _log(taps), problem.k_w, problem.k_h, problem.k_d, problem.stride_w, _log(strides), max(problem.dilation),
        _log(positions), _log(width), _log(height), _log(depth),
        _even(problem.c_in), _even(problem.c_out), _even(problem.in_w), _even(width), max(problem.padding) > 0,
        _log(problem.inputs * item), _log(problem.outputs * item), _log(problem.weights * item),
        _log(positions / residues), _log(c_in * taps / residues), problem.bias, device.bandwidth / 1e12,
    ]  # fmt: skip


def config_features(problem: Problem, device: Device, kernel: str, config: Any) -> list[float]:
    """Return the numbers of CONFIG. `kernel` must be one of KERNELS, and the config valid for the problem."""
    module: Any = load(kernel)
    grid, work = module.signature(problem, config).grid, module.work(problem, config)
    given = config._asdict().get
    item, floor = ITEM_BYTES[problem.dtype], 2 ** floor_log(problem, device) / 1e6
    block_m = given("BLOCK_M") or given("BLOCK_R", 1) * (
        given("BLOCK_W") or given("COLS", 1) * given("PATCHES", 1)
    )
    block_n, block_k = given("BLOCK_N") or given("BLOCK_C", 1), given("BLOCK_K", 1)
    stages, lines, warps = given("num_stages", 2), given("LINES", 1), config.num_warps
    sums = block_m * block_n * lines / (32 * warps)
    shared = (block_m * lines + block_n) * block_k * item * stages if block_k > 1 else 0
    resident = max(
        1,
        min(
            device.warps_sm // warps,
            device.shared_sm // (min(shared, device.shared_block) + 1024),
            device.blocks_sm,
            int(device.registers_sm // (min(255, 40 + sums) * 32 * warps)),
        ),
    )
    rate = device.fp32_rate if work.unit == "fma" else rate_of(problem._replace(precision="tf32"), device)
    programs, sms = prod(grid), device.sm_count
    an_sm = programs / sms
    waves = an_sm / resident
    busy = ceil(an_sm) * work.flops * sms / rate
    l2 = programs * (work.loaded + work.stored) / (_L2_BYTES_PER_CLOCK * sms * device.clock)
    waiting = ceil(waves) * (2 * _MEMORY_S + work.k_steps * _LOAD_S / max(1, stages - 1, warps // 4))
    modelled = max(floor, work.launches * _LAUNCH_S + max(busy, l2, waiting))

    def word(name: str) -> int:
        value = given(name)
        return _WORDS[name].index(value) + 1 if value in _WORDS[name] else 0

    return [
        KERNELS.index(kernel), work.unit == "tensor", _log(programs), resident, _log(waves),
        ceil(waves) / waves if waves < 20 else 1.0, ceil(an_sm) / an_sm if an_sm < 20 else 1.0,
        _log(programs * work.flops / rate / floor), _log(programs * work.flops / max(1, problem.flops)),
        _log(programs * work.loaded / device.bandwidth / floor), _log(programs * work.stored / device.bandwidth / floor),
        _log(work.k_steps), work.launches, _log(busy / floor), _log(l2 / floor), _log(waiting / floor), _log(modelled / floor),
        _log(block_m), _log(block_n), _log(block_k), warps, stages, _log(sums), _log(given("SPLIT", 1)), _log(given("TILES", 1)),
        given("SWAP", -1), given("REPACK", -1), given("SPAN", 0), lines, given("HIGH", 0), given("STACK", 0), given("RESIDENT", -1),
        word("DOT"), word("PHASE"), word("LOOP"), word("ORDER"), given("COMPENSATED", -1),
    ]  # fmt: skip
