"""The versions and the clock that a measured time depends on."""

import importlib.metadata
import subprocess

__all__ = ["environment", "sm_clock_mhz"]


def environment() -> dict[str, str]:
    """Return the versions that times depend on: triton, torch, cudnn, driver; empty where there is none."""
    import torch

    try:
        triton = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        triton = ""
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        "triton": triton,
        "torch": str(torch.__version__),
        "cudnn": _dotted(cudnn),
        "driver": _driver(),
    }


def sm_clock_mhz(index: int) -> int | None:
    """Return the clock of a GPU's multiprocessors at this moment; None where NVML or its Python module is missing."""
    import torch

    try:
        return int(torch.cuda.clock_rate(index))
    except Exception:  # noqa: BLE001 (whatever a driver answers, the time stands)
        return None


def _dotted(cudnn: int | None) -> str:
    """Return "9.19.0" for 91900; before version 9 a minor version had one digit less."""
    if not cudnn:
        return ""
    unit = 10000 if cudnn >= 90000 else 1000
    return f"{cudnn // unit}.{cudnn % unit // 100}.{cudnn % 100}"


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 (a constant command)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.split() or [""])[0]
