"""Direct convolution without a matrix unit: a thread owns neighbouring outputs of one row for several channels.

    y[n, o] = bias[n] + sum over rows of taps, input channels c and width taps k of  x[c, input(o, k)] * w[n, c, k]

For few channels, where the tiles of a matrix unit would mostly multiply padding, and for float32 that must not be rounded to
TF32. Products and sums are IEEE float32.

A thread with COLS = 4 columns, BLOCK_N = 2 channels and 3 width taps (stride 1, padding 1) keeps in registers:

    one input row   x-1 x0 x1 x2 x3 x4      each loaded once; x1 serves outputs 0, 1 and 2
                     |--------|             window of output 0: taps k0 k1 k2
                        |--------|          window of output 1
    sums            y0 y1 y2 y3             of channel n
                    y0 y1 y2 y3             of channel n + 1

A step of its loop is an input row under one depth and one height tap, of four input channels (TOGETHER): COLS * BLOCK_N * 3
multiply-adds a channel, unrolled, with weights that are the same in all threads. Which depth and height taps there are follows
from the residue of the row, o mod stride, where the convolution is transposed; a thread has the outputs of all width residues.
"""

from tunedb.kernels.direct.launch import Config, plan, signature, valid
from tunedb.kernels.direct.space import UNPREDICTED, default, seeds, space, work

from tunedb.problem import OPS

__all__ = [
    "ONE_LAYOUT",
    "OPS",
    "UNPREDICTED",
    "Config",
    "default",
    "plan",
    "seeds",
    "signature",
    "space",
    "valid",
    "work",
]

ONE_LAYOUT = True  # for all batches and extents of a layer
