"""Which GPU: its name in the database and the facts that decide what runs on it and how fast."""

import functools
import re
from typing import NamedTuple

from tunedb.errors import DeviceError
from tunedb.problem import Problem

__all__ = ["CATALOGUE", "Device", "as_arch", "by_slug", "current", "floor_us", "gpu_of"]

# Older generations whose code newer GPUs run too, with the bytes of shared memory that a block has there. Not sm90:
# its wgmma exists on no other generation.
ARCHES = {"sm80": 166912, "sm86": 101376, "sm89": 101376}


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


# The H200's ceilings were measured (copy 4.3 TB/s; 8192^3 matmul, random data: TF32 360, float16 657 to 790
# TFLOP/s, of which 720 is the floor's convention); everything else is the vendor's datasheet.
CATALOGUE = (
    Device("4090", "NVIDIA GeForce RTX 4090", 89, 128, 101376, 102400, 48, 65536, 72 << 20, 1008e9, 82.6e12, 165.2e12, 82.6e12, measured=False),
    Device("4080", "NVIDIA GeForce RTX 4080", 89, 76, 101376, 102400, 48, 65536, 64 << 20, 717e9, 48.7e12, 97.5e12, 48.7e12, measured=False),
    Device("l40s", "NVIDIA L40S", 89, 142, 101376, 102400, 48, 65536, 96 << 20, 864e9, 183e12, 362e12, 91.6e12, measured=False),
    Device("h100", "NVIDIA H100 80GB HBM3", 90, 132, 232448, 233472, 64, 65536, 50 << 20, 3350e9, 494e12, 989e12, 67e12, measured=False),
    Device("h200", "NVIDIA H200", 90, 132, 232448, 233472, 64, 65536, 60 << 20, 4300e9, 360e12, 720e12, 67e12, measured=True),
)  # fmt: skip


def by_slug(slug: str) -> Device:
    """Return a GPU of the catalogue, or the one at hand if that is its slug; "h200-sm89" is as_arch of "h200".

    Raises DeviceError: where neither has it.
    """
    for device in CATALOGUE:
        if device.slug == slug:
            return device
    if (gpu := gpu_of(slug)) != slug:
        return as_arch(by_slug(gpu), slug[len(gpu) + 1 :])
    here = _present()
    if here is not None and here.slug == slug:
        return here
    known = ", ".join(device.slug for device in CATALOGUE)
    raise DeviceError(f"device must be one of {known} or the GPU at hand, but got {slug!r}.")


def as_arch(device: Device, arch: str) -> Device:
    """Return the same GPU running an older generation's code, within that generation's shared memory a block.

    A device of its own: answers for it are no answers for the GPU running its own code.
    Raises DeviceError: where `arch` is no older generation that the GPU can run.
    """
    older = [name for name in ARCHES if int(name[2:]) < device.capability and not device.own_capability]
    if arch not in older:
        allowed = ", ".join(older) or "none: leave it out"
        raise DeviceError(
            f"arch must be an older generation whose code {device.slug} runs (allowed here: {allowed}), but got {arch!r}."
        )
    return device._replace(
        slug=f"{device.slug}-{arch}",
        name=f"{device.name} (sm_{arch[2:]} code)",
        capability=int(arch[2:]),
        shared_block=min(device.shared_block, ARCHES[arch]),
        own_capability=device.capability,
    )


def gpu_of(slug: str) -> str:
    """Return the slug of the GPU itself: "h200" for "h200-sm89"."""
    gpu, _, arch = slug.rpartition("-")
    return gpu if gpu and arch in ARCHES else slug


def _present() -> Device | None:
    import torch

    return current(0) if torch.cuda.is_available() and torch.version.cuda else None


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
    slug = re.sub(
        r"[^a-z0-9]+", "-", facts.name.lower().removeprefix("nvidia").replace("geforce rtx", "")
    ).strip("-")
    capability = facts.major * 10 + facts.minor
    clock = getattr(facts, "clock_rate", 1_500_000) * 1e3  # Hz; the driver gives kHz
    fp32 = facts.multi_processor_count * 128 * 2 * clock
    bandwidth = (
        2 * getattr(facts, "memory_clock_rate", 9_000_000) * 1e3 * getattr(facts, "memory_bus_width", 256) / 8
    )
    return Device(
        slug, facts.name, capability, facts.multi_processor_count,
        getattr(facts, "shared_memory_per_block_optin", 49152), facts.shared_memory_per_multiprocessor,
        facts.max_threads_per_multi_processor // 32, getattr(facts, "regs_per_multiprocessor", 65536),
        facts.L2_cache_size, bandwidth, fp32, 2 * fp32, fp32, measured=False,
    )  # fmt: skip


def floor_us(problem: Problem, device: Device) -> float:
    """Return the hardware floor in microseconds.

    It is the larger of the fewest bytes over the copy bandwidth and the useful operations over the rate of
    the unit that may do them: tensor cores for 16-bit types and TF32, CUDA cores for IEEE float32.
    """
    if problem.dtype != "float32":
        rate = device.half_rate
    elif problem.precision == "tf32":
        rate = device.tf32_rate
    else:
        rate = device.fp32_rate
    return 1e6 * max(problem.bytes / device.bandwidth, problem.flops / rate)
