"""How sure it is that an answer beats torch where neither was timed on this GPU."""

from math import erf, log2, sqrt

from tunedb.describe import micros
from tunedb.device import Device, catalogued
from tunedb.device.catalogue import generation
from tunedb.dispatch.usable import Answer
from tunedb.record import Record

__all__ = ["FIFTH", "LEAST", "chance", "likely_faster", "only_if_likely", "probability"]

# An answer that nobody timed is given where it is at least so likely to be faster than torch, by its time and torch's in the record.
LEAST = 0.9
# How far torch's expected time is off, as a standard deviation of log2 (benchmarks/predicted): on a Hopper GPU, from another one's measured
# time; on others, from published times of two Ada cards, each layer left out in turn; and there in 16 bits, of which none were published
# and for which more is assumed.
_TORCH_ON_HOPPER, _TORCH_ELSEWHERE, _TORCH_IN_16_BITS = 0.2, 0.72, 1.0
FIFTH = 0.8416  # standard deviations from the median to the 20th and the 80th percentile
_UNSAID = 0.4  # where a record has no percentiles
# Of a time that is moved to a GPU with other instructions: as far off as the time model's.
_OF_ANOTHER_GENERATION = 0.42


def chance(record: Record, device: Device) -> float | None:
    """Return the probability that a record's time is shorter than torch's on a device; None where it does not know torch's."""
    if not record.aten_us:
        return None
    own = _UNSAID
    if record.time_us_low and record.time_us_high and record.time_us_low < record.time_us_high:
        own = log2(record.time_us_high / record.time_us_low) / (2 * FIFTH)
    return likely_faster(record.time_us, record.aten_us, own, record.problem.dtype, device)


def likely_faster(own_us: float, torch_us: float, own: float, dtype: str, device: Device) -> float:
    """Return the probability that an expected time is shorter than torch's; `own` is its standard deviation, of log2."""
    if generation(device.own_capability or device.capability).wgmma:
        torch = _TORCH_ON_HOPPER
    else:
        torch = _TORCH_ELSEWHERE if dtype == "float32" else _TORCH_IN_16_BITS
    return probability(log2(torch_us / own_us), sqrt(own**2 + torch**2))


def probability(gain: float, deviation: float) -> float:
    """Return the probability of any gain where this one is expected, both as log2, and errors are normally distributed."""
    return 0.5 * (1 + erf(gain / (sqrt(2) * deviation)))


def only_if_likely(found: Answer, device: Device) -> Answer:
    """Return an answer that nobody timed with how sure it is in its reason, or torch where that is too little.

    One that was measured beside torch is given as it is on its own GPU and on those of its generation.
    """
    record = found.record
    if record is None or found.kernel == "aten":
        return found
    if record.provenance == "measured":
        return found if _of_one_generation(record.device, device) else _from_another(found, record, device)
    sure = chance(record, device)
    if sure is None:
        return found
    said = f"faster than torch, which is expected to take {micros(record.aten_us)} there, with a probability of {100 * sure:.0f} %"
    if sure >= LEAST:
        return found._replace(reason=f"{found.reason} It is {said}.")
    reason = f"{found.reason} It would be {said}: at least {100 * LEAST:.0f} % are asked for, so torch's own kernel answers."
    return Answer("aten", "aten", None, record, reason)


def _of_one_generation(slug: str, device: Device) -> bool:
    """Return whether a record's GPU is of a device's generation; one that the catalogue does not have is taken to be."""
    known = catalogued(slug)
    return known is None or known.capability // 10 == device.capability // 10


def _from_another(found: Answer, record: Record, device: Device) -> Answer:
    """Return what was measured on a GPU of another generation where it gains so much there that it should gain here."""
    gain = (record.aten_us or 0.0) / record.time_us
    sure = 0.0
    if record.aten_us:
        dtype = record.problem.dtype
        sure = likely_faster(record.time_us, record.aten_us, _OF_ANOTHER_GENERATION, dtype, device)
    said = f"{record.device} is of another generation: {gain:.2f} times torch there is faster than torch here with a probability of {100 * sure:.0f} %"
    if sure >= LEAST:
        return found._replace(reason=f"{found.reason} {said}.")
    reason = f"{found.reason} {said}, and at least {100 * LEAST:.0f} % are asked for, so torch's own kernel answers."
    return Answer("aten", "aten", None, record, reason)
