"""Which configs of cudnn_last are worth trying, which first, and what they cost."""

from math import ceil, prod

from tunedb.kernels.cudnn_last.launch import Config, refused_by_cudnn, signature

from tunedb.device import Device
from tunedb.kernel import Work
from tunedb.problem import ITEM_BYTES, Problem

# Nothing is known of cuDNN's own time where it cannot be measured.
UNRANKED_ON = (80, 86, 89, 90, 100, 120)

# Two passes and cuDNN's call from Python: where they take less than this, an eager model waits for its host, not for the GPU. With
# all of them in eager calls Mask R-CNN's head in channels_last took 1.17 times torch's time, ResNet-50 1.10 times (H100, 2026-11-27).
EAGER_FROM_US = 100.0


def space(problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    """Return the tiles of the passes; none where nothing is passed over, or where cuDNN is bound to be slow.

    Depthwise and grouped problems in channels_last have kernels of their own in cuDNN, which others beat.
    """
    del device
    last = problem.layout == "channels_last"
    if problem.groups != 1 or min(problem.c_in, problem.c_out) < 8 or (last and not problem.bias):
        return {}
    if refused_by_cudnn(problem):
        return {}
    return {
        "BLOCK_C": (128, 256) if last else (32, 64, 128),
        "BLOCK_S": (16, 32) if last else (32, 64, 128),
        "num_warps": (4,) if last else (4, 8),
    }


def default(problem: Problem, device: Device) -> Config | None:
    if not space(problem, device):
        return None
    return Config(128, 16, 4) if problem.layout == "channels_last" else Config(64, 64, 4)


def work(problem: Problem, config: Config) -> Work:
    """Return what a program of the last pass does, with its share of cuDNN's products, as many as are useful."""
    item = ITEM_BYTES[problem.dtype]
    tile = config.BLOCK_C * config.BLOCK_S
    exact = problem.dtype == "float32" and problem.precision == "ieee"
    # A transposed output meets its kernel's taps over its strides, on the average of its residues.
    taps = prod(problem.kernel) / (prod(problem.stride) if problem.transposed else 1)
    flops = 2 * problem.outputs * problem.c_in * taps
    return Work(
        flops=max(1, ceil(flops / prod(signature(problem, config).grid))),
        unit="fma" if exact else "tensor",
        loaded=tile * item,
        stored=tile * item,
        k_steps=1,
        launches=3,
    )
