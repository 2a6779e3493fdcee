"""The convolution kernels: one file is one family, whole. Found by name through tunedb.kernel."""

# Kernels that the time model (tunedb/predict.py) holds for too fast, by the code's compute capability. Measured as sm_89 on an
# H200 (24 float32 problems of kernelbench, 2026-11-21), its favourite took 1.28 times the best with shared_rows and 1.17 without.
MISJUDGED = {"shared_rows": (80, 86, 89)}

# Fields that the model cannot judge, each with the value that a search without a GPU holds it to. Parts of a sum seem faster to
# it than they are: on an H200 its favourite took 2.07 times the best with them and 1.82 without (84 small problems, 2026-11-21).
# Compensation is for errors, which nobody sees without a GPU.
HELD = {"implicit_gemm": {"SPLIT": 1}, "direct": {"COMPENSATED": 0}, "depthwise": {"COMPENSATED": 0}}
