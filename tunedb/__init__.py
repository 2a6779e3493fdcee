"""Tuned convolution kernels that nobody has to tune at run time.

tunedb.conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d and conv_transpose3d stand where the functions
of torch.nn.functional stood, and answer with the fastest kernel that the database knows for the GPU and shape.
"""

from tunedb.dispatch.explanation import explain
from tunedb.errors import (
    ConfigError,
    DatabaseError,
    DeviceError,
    KernelError,
    ProblemError,
    StorageError,
    SuiteError,
    TunedbError,
    TunedbWarning,
)
from tunedb.ops import (
    clear,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DatabaseError",
    "DeviceError",
    "KernelError",
    "ProblemError",
    "StorageError",
    "SuiteError",
    "TunedbError",
    "TunedbWarning",
    "__version__",
    "clear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "explain",
]
