"""How many blocks of a kernel an SM holds at a time, and how a newer GPU is made to hold no more than an older one."""

from tunedb.device import Device

__all__ = ["RESERVED_SHARED", "padded_shared", "residency"]

RESERVED_SHARED = 1024  # bytes of shared memory that the system takes of every block
_STEP = 128  # bytes: shared memory is handed out in such pieces


def residency(num_warps: int, shared: int | None, registers: int | None, device: Device) -> int:
    """Return how many blocks an SM of a device holds at a time, at least 1.

    `shared` are the bytes of shared memory of a block, `registers` those of a thread; None counts as none.
    """
    limits = [
        device.warps_sm // num_warps,
        device.shared_sm // ((shared or 0) + RESERVED_SHARED),
        device.blocks_sm,
    ]
    if registers:
        # Handed out to a warp in units of 256, 8 a thread.
        limits.append(device.registers_sm // (-(-registers // 8) * 8 * 32 * num_warps))
    return max(1, min(limits))


def padded_shared(
    num_warps: int, shared: int | None, registers: int | None, device: Device, gpu: Device
) -> int:
    """Return the bytes of shared memory with which `gpu` holds as many blocks of a kernel as `device` would.

    `device` stands for an older GPU (as_arch) and `gpu` is what runs its code. Never less than what the kernel asks for.
    """
    own = shared or 0
    blocks = residency(num_warps, shared, registers, device)
    if residency(num_warps, shared, registers, gpu) <= blocks:
        return own
    return max(own, (gpu.shared_sm // blocks - RESERVED_SHARED) // _STEP * _STEP)
