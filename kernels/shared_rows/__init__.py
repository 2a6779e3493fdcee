"""Convolution straight from an input of either layout: what is in shared memory once serves every tap that reads it.

`packed` rewrites the input and then reads each of its rows again for every tap. Here a program takes the rows of a few
lines of output through registers, which puts channels inside and rounds float32 to TF32 on the way, and a tap is the same rows in
shared memory read from another position on. Triton's own language has no such operand; Gluon has. Hopper multiplies with wgmma,
Ada and Ampere with mma.sync.
"""

from tunedb.kernels.shared_rows.launch import Config, plan, signature, valid
from tunedb.kernels.shared_rows.space import UNRANKED_ON, default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "UNRANKED_ON", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
