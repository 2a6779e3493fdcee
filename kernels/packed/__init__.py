"""packed: the input is rewritten once so that every window is a few contiguous runs; then one matrix product.

    y[m, n] = sum over runs, k of  window[m, run, k] * w[n, run, k]

    row: |0|x0 c0..7|x1 c0..7|x2 ...     window of output o = [o*step, o*step + taps)

m is a position (an output, or a span of neighbouring outputs that share a window), n a column of its sums (an output channel
for each output of the span), k an element of a run. The pass over the input (packed/repack.py) writes the zeros of the border,
puts the channels innermost and pads them, and rounds float32 to TF32 where the product would. The taps of the innermost axis
are then one run, and the taps of the other axes choose the run:

    3 x 3 window:   run 0 = |x0 c0..7|x1 c0..7|x2 c0..7|  of the first row
                    run 1 = the same of the second row,  run 2 of the third

Loads of the product need no mask and one addition for an address, whatever the padding, the number of input channels or the
layout. It pays where the product takes much longer than one pass over the input.

A strided transposed convolution is a convolution of stride 1 whose columns are the residues of its outputs as well as the
channels (see shared.packing.packing_of):

    stride 2:  position q  ->  columns |channel 0: o = 2q, 2q + 1|channel 1: o = 2q, 2q + 1| ...
"""

from tunedb.kernels.packed.launch import Config, plan, signature, valid
from tunedb.kernels.packed.space import default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
