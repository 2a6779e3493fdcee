"""A time of one device, moved to another: the memory's part by bandwidths, the rest by what the multiprocessors start in a second."""

from tunedb.device import Device, rate
from tunedb.device.sustained import sustained
from tunedb.problem import Problem

__all__ = ["moved_us"]


def moved_us(us: float, problem: Problem, known: Device, asked: Device) -> float:
    """Return what should take on `asked` what took `us` on `known`, in microseconds.

    The least time for the bytes is the memory's part. The rest goes by the rate without tensor cores, which is multiprocessors times
    clock; where `asked` has slower tensor cores than that says (GeForce), what they cost more is added.
    """
    old, new = sustained(known), sustained(asked)
    memory = min(us, 1e6 * problem.bytes / old.bandwidth)
    slower = old.fp32_rate / new.fp32_rate
    products = 1e6 * problem.flops * (1 / rate(problem, new) - slower / rate(problem, old))
    return memory * old.bandwidth / new.bandwidth + (us - memory) * slower + max(0.0, products)
