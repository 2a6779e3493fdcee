"""Convolution as a matrix product: output positions by output channels, over taps and input channels.

Forward problems and stride-1 transposed ones are one phase; a strided transposed one is a unit-step
convolution for each output phase, all in one launch. Every program owns its outputs, so nothing is atomic; where there
are few of them, programs own parts of the sums, which a second launch adds in their order.
"""

from tunedb.kernels.implicit_gemm.launch import Config, plan, signature, valid
from tunedb.kernels.implicit_gemm.space import UNPREDICTED, default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "UNPREDICTED", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
