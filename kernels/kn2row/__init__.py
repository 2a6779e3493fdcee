"""kn2row: one matrix product for each tap of the width; the products are shifted and added afterwards.

    y[o] = sum over taps k, inputs i with o + padding = i * stride + k * dilation, of  x[i] * w[k]

That is a transposed convolution along the width. (A forward convolution of stride 1 is one whose taps are reversed.) The
product x[i] * w[k] does not depend on o, so that one aligned load of x serves every tap. Output o belongs to position
v = (o + padding) // stride and is its residue (o + padding) % stride. With the sums of each residue in an accumulator of its
own, the product of tap k moves k * dilation // stride positions on and is added to residue k * dilation % stride:

    stride 2, 4 taps        v:     0       1       2     ...
    x[i], loaded once              x0      x1      x2
    residue 0  +=  tap 0           x0*w0   x1*w0   x2*w0
               +=  tap 2, moved 1          x0*w2   x1*w2
    residue 1  +=  tap 1           x0*w1   x1*w1   x2*w1
               +=  tap 3, moved 1          x0*w3   x1*w3
    stored, interleaved            r0 r1 | r0 r1 | r0 r1

The products of a tile's last positions belong to the next tile. Tiles therefore overlap by the furthest move.
Depth, height and input channels are the loop of each product, as in an implicit GEMM.

This is the row-wise form of kn2row (Vasudevan et al., arXiv 1704.04428) and, for a transposed convolution, of GEMM followed by
col2im, in one kernel. Every load is aligned whatever the tap, and a strided row is stored in one piece.
"""

from tunedb.kernels.kn2row.launch import Config, plan, signature, valid
from tunedb.kernels.kn2row.space import default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["ONE_LAYOUT", "OPS", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]

ONE_LAYOUT = True  # for all batches and extents of a layer
