"""Which input precisions of tl.dot a search tries: those that may win and keep the error contract.

What a problem permits is wider (precision.dots): a config of any permitted precision is valid, wherever it comes from.
"""

from tunedb.kernels.shared.compensated_sum import sum_length
from tunedb.kernels.shared.precision import worth_trying

from tunedb.device import Device
from tunedb.problem import Problem

__all__ = ["searched_precisions"]

# Products of a sum. Rounding to pairs of TF32 numbers costs three TF32 products 8.0e-8 of a result, however exact the sum is, and
# torch's float32 sum of K products, one after the other, sqrt((K + 1) / 2) * 2.5e-8: 1.1 times that is less below 16.
# Simulated with normal numbers; on an H100 they failed with 1 to 30 products, on an H200 they passed from 48 on.
SHORT = 16
# The rate of the matrix units in TF32 over that of the CUDA cores. With few channels and more than this, on an H200 and an H100 (5
# and 7), none of 88 finalists had exact products where torch had none.
FASTER = 2.0


def searched_precisions(problem: Problem, device: Device) -> tuple[str, ...]:
    """Return the input precisions that a search tries for a problem, the likeliest first.

    Where TF32 is declared no result is refused for it, so nothing is gained by three products of it, and exact products may
    win on CUDA cores only. Elsewhere all products are exact, or three of TF32 where the sum is so long that torch's
    error covers theirs.
    """
    found = worth_trying(problem)
    if problem.precision == "tf32":
        slow = device.tf32_rate > FASTER * device.fp32_rate
        return tuple(dot for dot in found if dot == "tf32" or (dot == "ieee" and not slow))
    return tuple(dot for dot in found if dot != "tf32x3" or sum_length(problem) >= SHORT)
