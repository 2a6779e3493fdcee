"""The families of models, and which of their models a pattern chooses."""

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from zoo.model import Model

__all__ = ["FAMILIES", "chosen", "family", "versions"]

# By what names of models begin with. Each module has PACKAGES, the distributions it needs, and models().
FAMILIES = {
    name: f"zoo.{name}_models"
    for name in ("timm", "torchvision", "diffusers", "transformers", "monai", "smp")
}


def family(name: str) -> ModuleType:
    """Return the module of a family: one of FAMILIES, or a Python file that has PACKAGES and models()."""
    if name in FAMILIES:
        return import_module(FAMILIES[name])
    path = Path(name)
    spec = importlib.util.spec_from_file_location(f"zoo_of_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"--family must be of {', '.join(FAMILIES)} or a Python file, but got {name}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of distributions. Raises PackageNotFoundError for one that is not installed."""
    return {name: version(name) for name in packages}


def chosen(
    names: Sequence[str], patterns: Sequence[str]
) -> tuple[list[Model], dict[str, str], dict[str, str]]:
    """Return the models of families whose names fit one of the patterns, their packages' versions, and families that are missing.

    A missing one has a reason: a package that is not installed, or that cannot be imported here.
    """
    _declare_torchvision()
    found: dict[str, Model] = {}
    known: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        module = family(name)
        try:
            known |= versions(module.PACKAGES)
            for model in module.models():
                if any(fnmatchcase(model.name, pattern) for pattern in patterns):
                    found[model.name] = model
        except PackageNotFoundError as error:
            missing[name] = f"{error.name} is not installed"
        except Exception as error:  # noqa: BLE001 (a package that is broken here costs its family only)
            missing[name] = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
    return list(found.values()), known, missing


def _declare_torchvision() -> None:
    """Let torchvision be imported beside a torch that its compiled part does not fit, such as a CUDA build beside a CPU torch.

    It declares what torchvision wants to be there; no convolution is among it. Others import torchvision too.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
