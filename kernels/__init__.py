"""The convolution kernels: one package is one family, whole. Found by name through tunedb.kernel; `shared` is none."""
