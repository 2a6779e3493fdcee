"""Convolution straight from an input of either layout, as matrix products whose operand is a shifted view of shared memory.

    y[m, o] = sum over steps and taps of  w[m, tap, k] * row[o + start(tap), k]     m: output channels, k: input channels

Rows are loaded into shared memory once; each tap reads them at a shifted address. (`packed` rewrites the input in global
memory and then loads each row again for every tap.) With 3 taps along the width and N = BLOCK_N positions:

    row in shared memory   |x0|x1|x2|x3| ...            |xN-1| past |    a cell: BLOCK_K channels of a position
    window of tap 0        [x0 ... outputs 0 to N-1 ... xN-1]
    window of tap 1           [x1 ...                       xN]
    window of tap 2              [x2 ...                     xN+1]       halo = 2: the last 2 outputs are not stored

A window may start at any position, because positions lie side by side, 16 bytes of channels each:

    |c0..7 of x0|c0..7 of x1| ... |c0..7 of xN-1|c8..15 of x0| ...       one position on is 16 bytes on (here float16)

LINES products of one program, of neighbouring rows of output, share weights and, where HIGH is more than 1, rows of input:

    HIGH = 3, LINES = 2    output row 0 reads input rows 0 1 2,  output row 1 reads 1 2 3:  a step holds 4 rows

A step takes a depth tap, HIGH taps of the height and BLOCK_K input channels. Memory is a double buffer of two stages:

    step s    stage s % 2          multiplied, one product for each tap and line
              the other stage      overwritten with the weights (copied) and rows (from registers) of step s + 1
              registers            rows of step s + 2, on their way from global memory

Rows pass through registers because that puts channels innermost and rounds float32 to TF32 on the way. The kernel is written
in Gluon: Triton's own tl.dot takes no operand at an address in shared memory. Hopper multiplies with wgmma, Ada and Ampere
with mma.sync.
"""

from tunedb.kernels.shared_rows.launch import Config, plan, signature, valid
from tunedb.kernels.shared_rows.space import default, seeds, space, work

from tunedb.problem import OPS

__all__ = [
    "ONE_LAYOUT",
    "OPS",
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
