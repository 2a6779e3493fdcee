"""Depthwise convolution: a group has one input channel, so there is no matrix product; a window slides through registers.

    y[c, o] = bias[c] + sum over taps k of  x[c // multiplier, input(o, k)] * w[c, k]      multiplier = c_out / c_in

An input serves only the outputs near it of its own channel (of `multiplier` channels), so loads must be saved there: a thread
owns a patch of BLOCK_R rows by COLS columns of outputs, and loads each input that the patch needs once. A patch of 2 by 2 with
3 by 3 taps (stride 1) reads 4 rows of 4 inputs, 16 loads for 36 multiply-adds:

    input row 0   x x x x    -> height tap 0 of output row 0
    input row 1   x x x x    -> height tap 1 of output row 0, tap 0 of row 1
    input row 2   x x x x    -> height tap 2 of output row 0, tap 1 of row 1
    input row 3   x x x x    ->                               tap 2 of output row 1

Each row is loaded and then added to every sum that it touches, so that it can leave the registers; window.Rows and
window.Columns are the compile-time tables of which taps meet which inputs. Where the convolution is transposed and strided,
a patch has BLOCK_R rows and COLS columns of every residue, o mod stride.
"""

from tunedb.kernels.depthwise.launch import Config, plan, signature, valid
from tunedb.kernels.depthwise.space import UNPREDICTED, default, seeds, space, work

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
