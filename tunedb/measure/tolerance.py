"""When a candidate's result is right: no worse by more than a tenth than what the problem's declared precision permits."""

import math
from typing import TYPE_CHECKING, NamedTuple

from tunedb.measure.reference import Deviation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CHUNK", "NOTHING", "ROUNDING", "SLACK", "Contract", "disagreement"]

SLACK = 1.1  # times the permitted error against float64
LARGEST_SLACK = 4.0  # times the permitted largest error: single elements vary more than the norm
ROUNDING = 2.0**-25  # relative error of storing an exact result as float32: nothing can be asked to be better
NOTHING = Deviation(0.0, 0.0)
CHUNK = 1 << 27  # elements compared at a time: two float32 temporaries of 0.5 GB


class Contract(NamedTuple):
    """The limits for a problem: from torch's own result for the same tensors and, where TF32 is declared, from TF32's.

    cuDNN may compute exactly although TF32 is allowed, in one run and not in the next. A candidate in TF32 is right in both.
    """

    aten: Deviation  # torch's result against float64, on the part that has a reference
    scale: float  # root mean square of the reference
    tf32: Deviation = (
        NOTHING  # of exact sums over inputs rounded to TF32; nothing where the problem is "ieee"
    )

    @property
    def permitted(self) -> Deviation:
        """What the declared precision permits, before any slack."""
        return Deviation(max(self.aten.error, self.tf32.error), max(self.aten.largest, self.tf32.largest))

    @property
    def error_limit(self) -> float:
        return max(SLACK * self.permitted.error, ROUNDING)

    @property
    def largest_limit(self) -> float:
        # An element of many is up to about six deviations off; 8 leaves room for unequal rows.
        return max(LARGEST_SLACK * self.permitted.largest, 8 * ROUNDING * self.scale)

    def breach(self, given: Deviation) -> str:
        """Return why a result's deviation from float64 is too large, or an empty string."""
        if not math.isfinite(given.error):
            return "the output has NaN or infinite elements, or elements that were never written"
        if given.error > self.error_limit:
            return f"error against float64 must be at most {self.error_limit:.3g} (torch's is {self.aten.error:.3g}{self._tf32s(self.tf32.error)}), but is {given.error:.3g}"
        if given.largest > self.largest_limit:
            return f"no element may be off by more than {self.largest_limit:.3g} (torch's worst is {self.aten.largest:.3g}{self._tf32s(self.tf32.largest)}), but one is by {given.largest:.3g}"
        return ""

    def _tf32s(self, number: float) -> str:
        return f", TF32's {number:.3g}" if self.tf32 != NOTHING else ""

    def disagrees(self, given: Deviation, apart: Deviation) -> str:
        """Return why a whole output is too far from torch's whole output, or an empty string.

        `given` is the result's deviation from float64 on the part with a reference, `apart` its deviation from
        torch's on all of it. Where both are near the exact result they are within the sum of their errors of
        each other, of whichever kind each error is; twice that, since the errors were seen on a part only.
        """
        if not math.isfinite(apart.error):
            return "the output has NaN or infinite elements, or elements that were never written"
        error = 2 * (given.error + self.aten.error) + ROUNDING
        largest = 2 * (given.largest + self.aten.largest) + 8 * ROUNDING * self.scale
        if apart.error > error:
            return f"the whole output must be within {error:.3g} of torch's, but is {apart.error:.3g} away"
        if apart.largest > largest:
            return f"no element of the whole output may be further than {largest:.3g} from torch's, but one is {apart.largest:.3g} away"
        return ""


def disagreement(out: "Tensor", theirs: "Tensor") -> Deviation:
    """Return how far two whole outputs of equal strides are apart: inf where anything is NaN or infinite.

    Works in chunks, so that outputs of 2^31 elements need little extra memory; it takes a few passes over them.
    """
    import torch

    mine, yours = _flat(out), _flat(theirs)
    squares, norms, worst = [], [], []
    for start in range(0, mine.numel(), CHUNK):
        other = yours[start : start + CHUNK].float()
        difference = mine[start : start + CHUNK].float() - other
        squares.append(torch.linalg.vector_norm(difference).double().square())
        norms.append(torch.linalg.vector_norm(other).double().square())
        worst.append(difference.abs_().amax())
    if not worst:
        return Deviation(0.0, 0.0)
    error = float((torch.stack(squares).sum() / torch.stack(norms).sum().clamp_min(1e-300)).sqrt())
    largest = float(torch.stack(worst).amax())
    return Deviation(error, largest) if math.isfinite(error + largest) else Deviation(math.inf, math.inf)


def _flat(dense: "Tensor") -> "Tensor":
    """Return a dense tensor's elements in memory order, as a view."""
    import torch

    return torch.as_strided(dense, (dense.numel(),), (1,))
