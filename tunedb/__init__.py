"""Tuned convolution kernels that nobody has to tune at run time.

tunedb.conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d and conv_transpose3d stand where the functions
of torch.nn.functional stood, and answer with the fastest kernel that the database knows for the GPU and shape.
"""

from typing import TYPE_CHECKING, Any

from tunedb.errors import (
    CaptureError,
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
    stats,
)

if TYPE_CHECKING:
    from tunedb.dispatch.explanation import explain
    from tunedb.model.capture import capture
    from tunedb.model.tune_model import tune_model
    from tunedb.model.use import use

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
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
    "capture",
    "clear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "explain",
    "stats",
    "tune_model",
    "use",
]

# Imported when first used: a service that only calls the six functions needs none of it.
_LATER = {
    "capture": "tunedb.model.capture",
    "explain": "tunedb.dispatch.explanation",
    "tune_model": "tunedb.model.tune_model",
    "use": "tunedb.model.use",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tunedb' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return found
