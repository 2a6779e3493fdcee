"""Convolution as a matrix product whose left matrix, the windows of the input, is read in place and never built.

    y[m, n] = bias[n] + sum over taps t and input channels c of  x[input(m, t), c] * w[n, t, c]

                      K = taps * channels
                 t0: c0 c1 ..  t1: c0 c1 ..              n: output channels
               +---------------------------+             +-------+
    m: output  | x of tap t0 | x of tap t1 |   BLOCK_K   |   w   |       +-------+
    positions  |  (zero outside the input) |   a step    |       |   =   |   y   |
               +---------------------------+             +-------+       +-------+

A program owns a tile of y: BLOCK_R output rows by BLOCK_W columns (these are its m) by BLOCK_N channels. Each step of its loop
loads BLOCK_K columns of x and rows of w, and adds their product with tl.dot. LOOP is the order of the steps: tap by tap,
channel block by channel block, or along K as it lies, with several taps in one step where there are few channels.

Along an axis an output has taps t = 0, 1, ..., and tap t reads input (start + j * step + t * reach) / divisor; see
geometry.Axis. A forward convolution, or a transposed one of stride 1, is one such product. A strided transposed one is a
product for each residue o mod stride of the outputs, all in one launch: its width, stride 2, kernel 3, padding 0:

    output   0    1    2    3    4    5
    reads    k0   k1   k0   k1   k0   k1      residue 0: taps 0 and 2 at unit step
                       k2        k2           residue 1: tap 1 at unit step

No two programs write the same output, so there are no atomics. Where there are few outputs, SPLIT programs share a tile: each
sums a part of K into a float32 tensor of its own, and a second launch adds the parts in a fixed order (split_sum).
"""

from tunedb.kernels.implicit_gemm.launch import Config, plan, signature, valid
from tunedb.kernels.implicit_gemm.space import default, seeds, space, work

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
