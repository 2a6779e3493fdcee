"""What a GPU gives in long runs, of what its datasheet promises: times are compared across devices by this."""

import functools

from tunedb.device import Device
from tunedb.device.catalogue import generation

__all__ = ["sustained"]

# Shares of a datasheet's matrix rate and bandwidth, by generation. Hopper: this project's H200, 720 of 989 TFLOP/s and 4.3 of 4.8 TB/s
# (its power is the limit). Ada: what others measured on RTX 4090s, 153.6 of 165.2 TFLOP/s and 954 of 1,008 GB/s. Others are taken to be as Ada.
_HOPPER, _ADA = (0.728, 0.896), (0.93, 0.946)
# Ampere's mma.sync reaches 62 % of the matrix rate of an H100 (arXiv 2402.13499, "Benchmarking and Dissecting the Nvidia Hopper GPU").
_MMA_SYNC_ON_HOPPER = 0.62


@functools.cache
def sustained(device: Device) -> Device:
    """Return a device with the rates and the bandwidth that large products and copies reach on it.

    A measured device has its own. Code of an older generation reaches the rate of its own instructions.
    """
    own = generation(device.own_capability or device.capability)
    matrix, memory = _HOPPER if own.wgmma else _ADA
    peak = 1 / matrix if device.measured else 1.0  # of the datasheet, from what was measured
    if own.wgmma and not device.wgmma:
        rate = _MMA_SYNC_ON_HOPPER * peak
    else:
        rate = 1.0 if device.measured else matrix
    return device._replace(
        tf32_rate=device.tf32_rate * rate,
        half_rate=device.half_rate * rate,
        bandwidth=device.bandwidth * (1.0 if device.measured else memory),
    )
