"""Why no GPU can be measured on: none is there, or one is and cannot be used."""

import os
import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

__all__ = ["Absence", "absence"]

# What the driver leaves on a machine: its devices, its facts, its program.
_TRACES = (Path("/dev/nvidiactl"), Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version"))


class Absence(NamedTuple):
    """Why there is no GPU to measure on."""

    why: str  # a clause: "this machine has no NVIDIA GPU"
    remedy: str  # a sentence, empty where nothing is wrong


def absence() -> Absence | None:
    """Return why torch has no CUDA GPU here, or None where it has one.

    A machine without a GPU is as it should be; a GPU that the driver or torch cannot use is not, and has a remedy.
    """
    import torch

    if torch.version.hip:
        return Absence("this torch is built for ROCm, which tunedb has no kernels for", "")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return None
    if not _driver_is_here():
        return Absence("this machine has no NVIDIA GPU", "")
    if torch.version.cuda is None:
        return Absence(
            f"torch {torch.__version__} is built without CUDA, though an NVIDIA driver is here",
            "Install a torch that is built for CUDA.",
        )
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        return Absence("CUDA_VISIBLE_DEVICES hides every GPU", "Unset CUDA_VISIBLE_DEVICES.")
    cause = _cause() or (str(said[0].message).splitlines()[0] if said else "it finds no GPU")
    return Absence(
        f"an NVIDIA driver is here, but CUDA cannot use it: {cause.strip().removesuffix('.')}",
        "See whether `nvidia-smi` runs, and load or update the driver.",
    )


def _driver_is_here() -> bool:
    return any(path.exists() for path in _TRACES) or shutil.which("nvidia-smi") is not None


def _cause() -> str:
    """Return what torch says when it begins to use CUDA."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (AssertionError, RuntimeError) as error:
        return (str(error).splitlines() or [""])[0]
    return ""
