"""Convolution whose width taps are separate matrix products of the same inputs, shifted and added afterwards.

The row-wise form of kn2row (Vasudevan et al., arXiv 1704.04428) and, for a transposed convolution, of GEMM and
col2im, fused: a program loads a stretch of input once for all width taps, so that every load is aligned whatever
the tap, and a strided row leaves in one piece, its phases interleaved.
"""

from tunedb.kernels.kn2row.launch import Config, plan, signature, valid
from tunedb.kernels.kn2row.space import default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
