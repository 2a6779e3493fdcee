"""Depthwise convolution: one input channel a group, so no matrix product, only a window of inputs that slides."""

from tunedb.kernels.depthwise.launch import Config, plan, signature, valid
from tunedb.kernels.depthwise.space import UNPREDICTED, default, seeds, space, work

from tunedb.problem import OPS

__all__ = ["OPS", "UNPREDICTED", "Config", "default", "plan", "seeds", "signature", "space", "valid", "work"]
