"""What is left of a record's win where a compiler adds the bias: torch's own call reads and writes its whole output once more for it."""

from tunedb.device import Device
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.record import Record

__all__ = ["bias_us", "wins_fused"]

# Torch's pass takes so many times what the memory needs to read and to write the output. From a VAE decoder on an H100: the records
# say 5.55 ms for torch's convolutions, and Inductor's took 3.55 without the passes, which the memory alone makes in 0.69.
TIMES_FLOOR = 2.5


def wins_fused(record: Record | None, device: Device) -> bool:
    """Return whether a record's kernel beats torch's without its pass for the bias; without torch's time nothing says that it does not."""
    if record is None or record.aten_us is None:
        return True
    return record.time_us <= record.aten_us - bias_us(record.problem, device)


def bias_us(problem: Problem, device: Device) -> float:
    """Return about how many microseconds torch takes to add the bias to what its convolution wrote."""
    if not problem.bias:
        return 0.0
    bytes_ = 2 * ITEM_BYTES[problem.dtype] * problem.outputs
    return TIMES_FLOOR * 1e6 * bytes_ / device.bandwidth
