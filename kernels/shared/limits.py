"""What a config may ask of a GPU and of Triton, whatever the kernel."""

from typing import Any

from tunedb.device import Device
from tunedb.problem import ITEM_BYTES, Problem

__all__ = ["shape_flaw", "shared_flaw", "tile_flaw"]


def shape_flaw(config: Any, allowed: dict[str, tuple[Any, ...]]) -> str:
    """Return what is wrong with a config whatever the problem: a block, warps, or a name that is not `allowed`."""
    for field, value in config._asdict().items():
        if field in allowed:
            if value not in allowed[field]:
                return f"{field} must be one of {allowed[field]}, but is {value!r}"
        elif field == "num_stages":
            if not 1 <= value <= 8:
                return f"num_stages must be 1 to 8, but is {value}"
        elif value < 1 or value & (value - 1) or value > (16 if field == "num_warps" else 4096):
            return f"{field} must be a power of two, at most {16 if field == 'num_warps' else 4096}, but is {value}"
    return ""


def tile_flaw(warps: int, positions: int, channels: int, depth: int, *, most: int = 64) -> str:
    """Return what is wrong with the tiles of tl.dot, of which a thread loads at most `most` elements."""
    if not 16 <= positions <= 512 or not 16 <= channels <= 256 or not 16 <= depth <= 256:
        return f"a tile must have 16 to 512 positions and 16 to 256 channels, but has {positions}, {channels} and {depth}"
    if max(positions, channels) * depth // (warps * 32) > most:
        return f"{warps} warps are too few to load tiles of {positions} and {channels} by {depth}"
    return ""


def shared_flaw(problem: Problem, device: Device, num_stages: int, elements: int) -> str:
    """Return why the operands of a step, so many elements, do not fit as often as there are stages."""
    # With mma.sync a tile's buffer is free once it is read, so one fewer suffices; wgmma and tcgen05 read while the next arrive.
    stages = num_stages if device.all_stages_in_flight else max(num_stages - 1, 1)
    shared = stages * elements * ITEM_BYTES[problem.dtype]
    if shared > device.shared_block:
        return (
            f"{num_stages} stages need {shared} bytes of shared memory, but a block has {device.shared_block}"
        )
    return ""
