"""Direct convolution without a matrix unit: a thread owns neighbouring outputs of one row for several channels.

For few channels, where a matrix tile would mostly multiply padding, and for float32 that must not be rounded to TF32.
Each input is loaded once for all taps of a row and all channels of the thread. Depth and height taps follow from the
phase of the rows. Products and sums are IEEE float32.
"""

from tunedb.kernels.direct.launch import Config, plan, signature, valid
from tunedb.kernels.direct.space import UNPREDICTED, default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "UNPREDICTED", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
