"""Tuned convolution kernels that nobody has to tune at run time.

tunedb.conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d and conv_transpose3d stand where the functions
of torch.nn.functional stood, and answer with the fastest kernel that the database knows for the GPU and shape.

What needs torch is imported when it is first used, so that the command `tunedb --help` answers at once.
"""

import sys
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

if TYPE_CHECKING:
    from tunedb.dispatch.explanation import explain
    from tunedb.model.capture import capture
    from tunedb.model.tune_model import tune_model
    from tunedb.model.use import use
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

# Imported when first used. Those of tunedb.ops need torch; the others more, and a service that only calls the six
# functions needs none of them.
_OPERATIONS = (
    "clear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "stats",
)
_LATER = {
    "capture": "tunedb.model.capture",
    "explain": "tunedb.dispatch.explanation",
    "tune_model": "tunedb.model.tune_model",
    "use": "tunedb.model.use",
    **dict.fromkeys(_OPERATIONS, "tunedb.ops"),
}


def __getattr__(name: str) -> Any:
    """Import what a name stands for and bind it, so that the next use of the name is that of any function of a module."""
    if name not in _LATER:
        raise AttributeError(f"module 'tunedb' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_LATER[name])
    # All six at once: they remember torch's own functions, which a program may replace one by one.
    for one in _OPERATIONS if name in _OPERATIONS else (name,):
        globals()[one] = getattr(module, one)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


if "torch" in sys.modules:  # a program that computes: no first call pays for the import
    __getattr__("conv1d")
