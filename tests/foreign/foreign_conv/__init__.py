"""The naive convolution: every lane computes one output by itself, by gathering its inputs.

y[s, co, o] = bias[co] + sum over taps k, channels ci of  x[s, ci, i(o, k)] * w[co, ci, k]
forward     i = o * stride - padding + k * dilation
transposed  i = (o + padding - k * dilation) / stride, where that is a whole number

  outputs in memory order   |y0 y1 y2 ... |          | ... |
                             lanes of program 0 (BLOCK)   program 1
"""

from foreign_conv.launch import Config, plan, signature, valid
from foreign_conv.space import default, seeds, space, work
from tunedb.problem import OPS

__all__ = ["OPS", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
