"""What is left of a record's win where a compiler adds the bias: torch's own call reads and writes its whole output once more for it."""

from tunedb.device import Device
from tunedb.problem import ITEM_BYTES, Problem
from tunedb.record import Record

__all__ = ["bias_us", "wins_fused"]

# What torch's pass takes: a launch, and so many times what the memory needs to read and to write the output. From calls with and
# without a bias on an H100: 3 to 4 us of 0.3 MB, 49 to 101 us of 34 to 67 MB in float16, 57 to 112 of twice as many bytes in float32.
LAUNCH_US = 3.0
TIMES_FLOOR = {2: 2.35, 4: 1.3}  # by bytes an element


def wins_fused(record: Record | None, device: Device) -> bool:
    """Return whether a record's kernel beats torch's without its pass for the bias; without torch's time nothing says that it does not."""
    if record is None or record.aten_us is None:
        return True
    return record.time_us <= record.aten_us - bias_us(record.problem, device)


def bias_us(problem: Problem, device: Device) -> float:
    """Return about how many microseconds torch takes to add the bias to what its convolution wrote."""
    if not problem.bias:
        return 0.0
    item = ITEM_BYTES[problem.dtype]
    return LAUNCH_US + TIMES_FLOOR[item] * 1e6 * 2 * item * problem.outputs / device.bandwidth
