"""Convolution as a matrix product over a packed input, in which every window is a few contiguous runs.

The input is rewritten once (kernels/repack.py): border zeros in place, channels innermost and padded, float32 rounded
to TF32. Loads of the product then need no mask and no address arithmetic but one addition, whatever the padding, the
number of input channels or the layout. It pays where the product is much dearer than one pass over the input.
"""

from tunedb.kernels.packed.launch import Config, plan, signature, valid
from tunedb.kernels.packed.space import default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
