"""The convolution kernels: one file is one family, whole. Found by name through tunedb.kernel."""
