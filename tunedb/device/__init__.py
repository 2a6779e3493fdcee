"""Which GPU: its name in the database and the facts that decide what runs on it and how fast."""

import functools
import re
from typing import NamedTuple

from tunedb.device.catalogue import CARDS, Card, Generation, generation
from tunedb.errors import DeviceError
from tunedb.problem import Problem

__all__ = [
    "CATALOGUE",
    "Device",
    "as_arch",
    "by_slug",
    "catalogued",
    "current",
    "floor_us",
    "gpu_of",
    "rate",
    "slug_of",
]

# Older generations whose code newer GPUs run too. Not sm90: its wgmma exists on no other generation.
ARCHES = ("sm80", "sm86", "sm89")


class Device(NamedTuple):
    """A GPU model, and the code that is compiled for it: its own, or an older generation's (see as_arch).

    Bytes, bytes a second and operations a second; a multiply-add is two operations.
    """

    slug: str
    name: str  # as the driver says it
    capability: int  # of the code: 89 is sm_89
    sm_count: int
    shared_block: int  # bytes of shared memory that one block can take
    shared_sm: int  # bytes of shared memory of an SM
    warps_sm: int
    registers_sm: int
    l2_bytes: int
    bandwidth: float  # bytes a second: a large copy, read plus written, where `measured`
    tf32_rate: float
    half_rate: float  # float16 and bfloat16 with float32 accumulation
    fp32_rate: float  # without tensor cores
    measured: bool  # bandwidth and rates were measured on it, not read from a datasheet
    own_capability: int = 0  # of the GPU itself where its code is an older generation's, else 0

    @property
    def gpu(self) -> str:
        """The slug of the GPU itself."""
        return gpu_of(self.slug)

    @property
    def arch(self) -> str | None:
        """The older generation whose code it runs, as Triton's option says it ("sm89"); None for its own."""
        return f"sm{self.capability}" if self.own_capability else None

    @property
    def code(self) -> Generation:
        """What its code can use: an older generation's on a device of as_arch."""
        return generation(self.capability)

    @property
    def mma_sync(self) -> bool:
        """Whether its code multiplies with Ampere's mma.sync."""
        return self.code.mma_sync

    @property
    def wgmma(self) -> bool:
        """Whether its code multiplies with Hopper's wgmma."""
        return self.code.wgmma

    @property
    def tma(self) -> bool:
        """Whether its code has the Tensor Memory Accelerator."""
        return self.code.tma

    @property
    def all_stages_in_flight(self) -> bool:
        """Whether a pipelined product holds a tile for every stage in shared memory; else for one fewer."""
        return self.code.all_stages_in_flight

    @property
    def blocks_sm(self) -> int:
        """The most blocks that an SM holds at a time.

        The code's generation says it: a device of as_arch stands for the older GPU here, as in shared_block.
        """
        return self.code.blocks_sm

    @property
    def fp32_lanes_sm(self) -> int:
        """Float32 multiply-adds that an SM of the GPU itself starts in a clock, whatever code it runs."""
        return generation(self.own_capability or self.capability).fp32_lanes_sm

    @property
    def clock(self) -> float:
        """The clock in Hz at which its SMs reach fp32_rate."""
        return self.fp32_rate / (2 * self.fp32_lanes_sm * self.sm_count)


def _device(card: Card) -> Device:
    own = generation(card.capability)
    return Device(
        card.slug, card.name, card.capability, card.sm_count,
        own.shared_block, own.shared_sm, own.warps_sm, own.registers_sm,
        card.l2_bytes, card.bandwidth, card.tf32_rate, card.half_rate, card.fp32_rate, measured=card.measured,
    )  # fmt: skip


CATALOGUE = tuple(_device(card) for card in CARDS)


def by_slug(slug: str) -> Device:
    """Return a GPU of the catalogue, or the one at hand if that is its slug; "h200-sm89" is as_arch of "h200".

    Raises DeviceError: where neither has it.
    """
    if (known := catalogued(slug)) is not None:
        return known
    if (gpu := gpu_of(slug)) != slug:
        return as_arch(by_slug(gpu), slug[len(gpu) + 1 :])
    here = _gpu_here()
    if here is not None and here.slug == slug:
        return here
    slugs = ", ".join(device.slug for device in CATALOGUE)
    raise DeviceError(f"device must be one of {slugs} or the GPU at hand, but got {slug!r}.")


def as_arch(device: Device, arch: str) -> Device:
    """Return the same GPU running an older generation's code, within that generation's shared memory a block.

    A device of its own: answers for it are no answers for the GPU running its own code. An SM holds no more blocks than the older
    generation's would, because launches ask for more shared memory than they use (tunedb/device/occupancy.py).
    Raises DeviceError: where `arch` is no older generation that the GPU can run.
    """
    older = [name for name in ARCHES if int(name[2:]) < device.capability and not device.own_capability]
    if arch not in older:
        allowed = ", ".join(older) or "none: leave it out"
        raise DeviceError(
            f"arch must be an older generation whose code {device.slug} runs (allowed here: {allowed}), but got {arch!r}."
        )
    generation_of_code = generation(int(arch[2:]))
    return device._replace(
        slug=f"{device.slug}-{arch}",
        name=f"{device.name} (sm_{arch[2:]} code)",
        capability=generation_of_code.capability,
        shared_block=min(device.shared_block, generation_of_code.shared_block),
        shared_sm=min(device.shared_sm, generation_of_code.shared_sm),
        warps_sm=min(device.warps_sm, generation_of_code.warps_sm),
        own_capability=device.capability,
    )


def gpu_of(slug: str) -> str:
    """Return the slug of the GPU itself: "h200" for "h200-sm89"."""
    gpu, _, arch = slug.rpartition("-")
    return gpu if gpu and arch in ARCHES else slug


def _gpu_here() -> Device | None:
    import torch

    return current(0) if torch.cuda.is_available() and torch.version.cuda else None


def slug_of(name: str) -> str:
    """Return the slug that a GPU outside the catalogue has by the driver's name: "a100-pcie-40gb"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia").replace("geforce rtx", "")).strip(
        "-"
    )


@functools.cache
def current(index: int) -> Device:
    """Return the GPU with that CUDA index.

    One that is not in the catalogue is keyed by its own name; its rates are guessed from its SM count,
    which makes its floors rough (`measured` is false) but never changes an answer.
    """
    import torch

    facts = torch.cuda.get_device_properties(index)
    for device in CATALOGUE:
        if device.name == facts.name:
            return device
    capability = facts.major * 10 + facts.minor
    clock = getattr(facts, "clock_rate", 1_500_000) * 1e3  # Hz; the driver gives kHz
    fp32 = facts.multi_processor_count * generation(capability).fp32_lanes_sm * 2 * clock
    bandwidth = (
        2 * getattr(facts, "memory_clock_rate", 9_000_000) * 1e3 * getattr(facts, "memory_bus_width", 256) / 8
    )
    return Device(
        slug_of(facts.name), facts.name, capability, facts.multi_processor_count,
        getattr(facts, "shared_memory_per_block_optin", 49152), facts.shared_memory_per_multiprocessor,
        facts.max_threads_per_multi_processor // 32, getattr(facts, "regs_per_multiprocessor", 65536),
        facts.L2_cache_size, bandwidth, fp32, 2 * fp32, fp32, measured=False,
    )  # fmt: skip


def catalogued(slug: str) -> Device | None:
    """Return the catalogue's device of a slug; None for one that it does not have."""
    return next((one for one in CATALOGUE if one.slug == slug), None)


def floor_us(problem: Problem, device: Device) -> float:
    """Return the hardware floor in microseconds.

    It is the larger of the fewest bytes over the copy bandwidth and the useful operations over the rate of
    the unit that may do them: tensor cores for 16-bit types and TF32, CUDA cores for IEEE float32.
    """
    return 1e6 * max(problem.bytes / device.bandwidth, problem.flops / rate(problem, device))


def rate(problem: Problem, device: Device) -> float:
    """Return the operations a second of the unit that may do a problem's products."""
    if problem.dtype != "float32":
        return device.half_rate
    return device.tf32_rate if problem.precision == "tf32" else device.fp32_rate
