"""The convolution kernels: one file is one family, whole. Found by name through tunedb.kernel."""

# Kernels that the time model (tunedb/predict.py) holds for too fast, by the code's compute capability. Measured as sm_89 on an
# H200 (24 float32 problems of kernelbench, 2026-11-21), its favourite took 1.28 times the best with shared_rows and 1.17 without.
MISJUDGED = {"shared_rows": (80, 86, 89)}
