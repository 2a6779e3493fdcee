"""Tuned convolution kernels that nobody has to tune at run time."""
