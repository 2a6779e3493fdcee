"""A first, simple time model: what a candidate should take on a GPU that is not there.

It ranks candidates; its microseconds are rough. The launch is cut into waves of the programs that are
resident together, and each part of the GPU is given the time it needs (tritonBLAS, arXiv 2512.04226, ranks
matrix products this way; the rest is arithmetic on the device's facts):

    residency   min(warps, shared memory, registers, blocks of an SM over what a program takes)
    arithmetic  programs on an SM x flops / (rate / SMs), less where too few warps feed the unit
    L2          programs x bytes asked for and stored / (SMs x 20 bytes a clock)
    spills      programs on an SM x words written and read back each K-step / 64 bytes a clock
    waiting     first loads + K-steps x latency / loads in flight + last stores, once a wave
    memory      bytes of the launch that miss L2 / bandwidth
    time        launches + max(memory, sum over waves of spills + max(arithmetic, L2, waiting))
                and never below the hardware floor

Re-reads hit L2 as far as what a wave reads fits in it; the first read of every byte comes from memory.
"""

import math
from collections.abc import Mapping
from typing import Any

from tunedb.device import Device, floor_us
from tunedb.device.occupancy import residency
from tunedb.kernel import Kernel, Signature, Work, config_from_json, load
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.record import Measurement

__all__ = ["fixed_fields", "predict_us", "ranks", "runs_as"]

LAUNCH_S = 2e-6  # an empty kernel between two events
MEMORY_S = 0.6e-6  # a load that misses L2, and the store at the end
LOAD_S = 0.3e-6  # a load that hits L2
# Both are round figures for sm_80 to sm_90, assumed, not measured here: they matter for small grids only.

# What L2 gives an SM, in bytes a clock: its port has 64, whole-chip microbenchmarks reach a third. Assumed.
L2_BYTES_PER_CLOCK = 20
L1_BYTES_PER_CLOCK = 64  # of an SM, for spilled registers
SECTOR = 32  # bytes: the least that a store moves
# Warps an SM that keep a unit busy: one a partition issues matrix products back to back; multiply-adds have
# four cycles of latency on each of four partitions.
BUSY_WARPS = {"tensor": 4, "fma": 16}


def predict_us(problem: Problem, kernel: str, config: str, resources: Measurement, device: Device) -> float:
    """Return the model's microseconds for a compiled candidate, at least the hardware floor.

    `resources` is what compile_candidate gave; registers and spills may be unknown (None).
    Raises ValueError: for a kernel that Triton does not compile, such as torch's own.
    """
    module = load(kernel)
    parsed = config_from_json(module, config)
    signature = module.signature(problem, parsed)
    if signature is None:
        raise ValueError(
            f"only a kernel that Triton compiles can be predicted, but got {kernel!r}: measure it."
        )
    work_of = getattr(module, "work", None)
    work = work_of(problem, parsed) if work_of is not None else work_from_tile(problem, signature)
    return modelled_us(problem, signature, work, resources, device)


def ranks(kernel: Kernel, device: Device) -> bool:
    """Return whether the model tells a kernel's configs from other kernels' on a device: else they must be measured."""
    return device.capability not in getattr(kernel, "UNRANKED_ON", ())


def runs_as(kernel: Kernel, device: Device) -> bool:
    """Return whether a kernel's code is the device's: on a GPU that runs older code, what calls torch still runs the GPU's own."""
    return device.arch is None or ranks(kernel, device)


def fixed_fields(kernel: Kernel) -> Mapping[str, int | str]:
    """Return the fields of a kernel's config that the model cannot judge, with the value that a search holds them to."""
    found: Mapping[str, int | str] = getattr(kernel, "UNPREDICTED", {})
    return found


def modelled_us(
    problem: Problem, signature: Signature, work: Work, resources: Measurement, device: Device
) -> float:
    """Return the model's microseconds from what a program does and takes."""
    resident = residency(signature.num_warps, resources.shared, resources.registers, device)
    sm_rate = _rate(problem, work, device) / device.sm_count
    # A spilled word is written and read again about once in every turn of the loop.
    spilled = 2 * (resources.spills or 0) * 32 * signature.num_warps * max(1, work.k_steps)
    # `stages` - 1 loads are in flight ahead of the one in use; without stages, the warps of a program still
    # overlap one load with another warp's arithmetic.
    in_flight = max(1, signature.num_stages - 1, signature.num_warps // 4)
    waiting = 2 * MEMORY_S + work.k_steps * LOAD_S / in_flight

    def wave_s(an_sm: int, together: int) -> float:
        busy = min(1.0, an_sm * signature.num_warps / BUSY_WARPS[work.unit])
        arithmetic = an_sm * work.flops / sm_rate / busy
        l2 = together * (work.loaded + work.stored) / (L2_BYTES_PER_CLOCK * device.sm_count * device.clock)
        return an_sm * spilled / (L1_BYTES_PER_CLOCK * device.clock) + max(arithmetic, l2, waiting)

    programs = math.prod(signature.grid)
    full, rest = divmod(programs, resident * device.sm_count)
    waves = full * wave_s(resident, resident * device.sm_count)
    if rest:
        waves += wave_s(-(-rest // device.sm_count), rest)
    memory = _memory_bytes(problem, work, programs, resident, device) / device.bandwidth
    return max(1e6 * (work.launches * LAUNCH_S + max(memory, waves)), floor_us(problem, device))


def _rate(problem: Problem, work: Work, device: Device) -> float:
    if work.unit == "fma":
        return device.fp32_rate
    return device.tf32_rate if problem.dtype == "float32" else device.half_rate


def _memory_bytes(problem: Problem, work: Work, programs: int, resident: int, device: Device) -> float:
    """Return the bytes that pass the memory's pins: stores, first reads, and re-reads that miss L2."""
    total = programs * work.loaded
    first = min(total, _input_bytes(problem))
    # What the programs that run together read, at most all of it: that much L2 must keep for a re-read to hit.
    footprint = min(first, min(programs, resident * device.sm_count) * work.loaded)
    missing = max(0.0, 1 - device.l2_bytes / footprint) if footprint else 0.0
    return programs * work.stored + first + (total - first) * missing


def _input_bytes(problem: Problem) -> int:
    return problem.bytes - problem.outputs * ITEM_BYTES[problem.dtype]


def work_from_tile(problem: Problem, signature: Signature) -> Work:
    """Read off the conventional names of constexprs what a program does, for a kernel that does not say it.

    BLOCK_R x BLOCK_W (or BLOCK_M, BLOCK_T) output positions by BLOCK_N output channels, BLOCK_K of the
    products a step. What has no name is spread evenly over the programs.
    """
    # A kernel passes its blocks by themselves, or as the one constexpr CONFIG.
    config: Any = signature.constexprs.get("CONFIG", ())
    tile = {**signature.constexprs, **dict(zip(getattr(config, "_fields", ()), config, strict=False))}
    item = ITEM_BYTES[problem.dtype]
    programs = math.prod(signature.grid)
    channels = _size(tile, "BLOCK_N") or 1
    positions = math.prod(_size(tile, name) or 1 for name in ("BLOCK_R", "BLOCK_W", "BLOCK_M", "BLOCK_T"))
    # At least its even share: a program may stream many tiles.
    positions = max(positions, -(-problem.outputs // (programs * channels)))
    # Useful products of one output; of a strided transposed convolution each residue has its own share of taps.
    depth = max(1, -(-problem.flops // (2 * problem.outputs)))
    if tile.get("PHASE") == "mask":
        depth = problem.c_in // problem.groups * math.prod(problem.kernel)
    step = _size(tile, "BLOCK_K")
    padded = -(-depth // step) * step if step else depth
    ieee = problem.dtype == "float32" and (problem.precision == "ieee" or tile.get("DOT") == "ieee")
    return Work(
        flops=2 * positions * channels * padded * (3 if tile.get("DOT") == "tf32x3" else 1),
        unit="tensor" if step and (not ieee or tile.get("DOT") == "tf32x3") else "fma",
        loaded=(positions + channels) * padded * item,
        stored=positions * channels * item * _scatter(problem, tile),
        k_steps=padded // step if step else padded,
    )


def _scatter(problem: Problem, tile: Mapping[str, Any]) -> int:
    """Return how many bytes a store moves for each that it means: a residue alone fills every s-th element of a row."""
    if (
        not problem.transposed
        or problem.layout == "channels_last"
        or tile.get("PHASE") in ("mask", "interleave")
    ):
        return 1
    return min(problem.stride_w, SECTOR // ITEM_BYTES[problem.dtype])


def _size(tile: Mapping[str, Any], name: str) -> int:
    value = tile.get(name, 0)
    return value if isinstance(value, int) else 0
