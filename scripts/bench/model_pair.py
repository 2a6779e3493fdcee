"""Torch's copy of a model and the one that tunedb answers, measured beside each other in every mode."""

import contextlib
import copy
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from bench.model_modes import Cpu, Gpu, prepared
from bench.real_models import Model
from bench.rounded import RoundedToTf32
from bench.turns import turns
from tunedb.dispatch.normalise import allow_tf32

__all__ = ["Subject", "errors_of", "leaves"]

FACTOR, TINY = 1.1, 1e-6  # of the error that is permitted; what a relative error may be more than that

Tensors = tuple[torch.Tensor, ...]


class Subject:
    """A model as it is made once for a process, and what it computes in float32."""

    def __init__(self, model: Model, place: Gpu | Cpu) -> None:
        self.place = place
        torch.manual_seed(0)
        with torch.device(place.device):
            made, self.inputs = model.make()
        self.model = made.eval().requires_grad_(False)

    @cached_property
    def reference(self) -> list[torch.Tensor]:
        """What the model computes in float32, without TF32."""
        with _precise():
            return [leaf.clone() for leaf in leaves(self.model(*self.inputs))]

    @cached_property
    def tf32_error(self) -> float:
        """How far off the model is if the factors of its convolutions, and nothing else, are rounded to TF32."""
        reference = self.reference
        with _precise(), RoundedToTf32():
            return errors_of(self.model(*self.inputs), reference) or 0.0

    def permitted_error(self, dtype: str) -> float:
        """What the declared precision permits beside torch's own error: cuDNN may be exact where TF32 is allowed."""
        return self.tf32_error if dtype == "float32" and allow_tf32() else 0.0

    def pair(self, dtype: str, layout: str) -> "Pair":
        self.reference  # noqa: B018 (it wakes CUDA and cuDNN, which is not what a first call is asked about)
        return Pair(self, dtype, layout)

    def copied(self, dtype: str, layout: str) -> tuple[nn.Module, Tensors]:
        """Return a copy of the model, and its inputs."""
        kind = getattr(torch, dtype)
        own = copy.deepcopy(self.model).to(kind)
        # Module.to refuses one memory format for weights of four and of five dimensions.
        for weight in own.parameters():
            weight.data = shaped(weight.data, layout)
        typed = (one.to(kind) if one.is_floating_point() else one for one in self.inputs)
        return own, tuple(shaped(one, layout) for one in typed)


class Pair:
    """Two copies of a model in one dtype and layout: torch's, and one that tunedb.use has switched over."""

    def __init__(self, subject: Subject, dtype: str, layout: str) -> None:
        import tunedb

        self._subject, self._place = subject, subject.place
        before = self._place.allocated()
        self._torchs, self._inputs = subject.copied(dtype, layout)
        torchs_mb = self._place.allocated() - before
        torch_s = self._seconds(self._torchs)
        # A compiler that keeps sums in registers rounds less often than the dtype permits.
        in_eager = errors_of(self._torchs(*self._inputs), subject.reference) or 0.0
        self._permitted = max(in_eager, subject.permitted_error(dtype))
        with tunedb.capture() as layers:
            self._torchs(*self._inputs)
        self.entries = list(layers.entries)
        self._tunedbs, _ = subject.copied(dtype, layout)
        self._place.wait()
        start = time.perf_counter()
        self._used = tunedb.use(self._tunedbs, layers)
        self._place.wait()
        used_s = time.perf_counter() - start
        self._first_s = {"torchs": torch_s, "tunedbs": used_s + self._seconds(self._tunedbs)}
        held = self._place.allocated() - before - torchs_mb  # with the weights that were packed
        self._held_mb = {"torchs": torchs_mb, "tunedbs": held}

    def _seconds(self, model: nn.Module) -> float:
        self._place.wait()
        start = time.perf_counter()
        model(*self._inputs)
        self._place.wait()
        return time.perf_counter() - start

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Return the eager call of either side."""
        return {
            "torchs": lambda: self._torchs(*self._inputs),
            "tunedbs": lambda: self._tunedbs(*self._inputs),
        }

    def measured(self, mode: str) -> dict[str, Any]:
        """Return the measured fields of a row; the model has run in eager mode before, which first calls include.

        Raises what torch raises: where memory is short, or a model cannot be captured or compiled.
        """
        from tunedb.measure.timing import spread

        with fresh(self._place), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", _warning())
            sides = {
                name: prepared(mode, model, self._inputs, self._place, name)
                for name, model in (("torchs", self._torchs), ("tunedbs", self._tunedbs))
            }
            torchs, tunedbs = sides["torchs"], sides["tunedbs"]
            torch_error, error = (errors_of(one.call(), self._subject.reference) for one in (torchs, tunedbs))
            first, ours, second = turns([torchs.call, tunedbs.call, torchs.call], self._place.wait)
        times, again = spread(ours), spread(first + second)
        first_s = {
            name: self._first_s[name] + (0.0 if mode == "eager" else one.first_s)
            for name, one in sides.items()
        }
        peak = {name: self._held_mb[name] + one.peak_mb for name, one in sides.items()}
        return {
            "torch_ms": again[0], "torch_ms_spread": again[1:], "tunedb_ms": times[0], "tunedb_ms_spread": times[1:],
            "noise": paired(first, second), "paired": paired([(one + two) / 2 for one, two in zip(first, second, strict=True)], ours),
            "layers": sum(max(1, len(entry.modules)) for entry in self.entries),
            "layers_tunedb": len(self._used.switched),
            "first_call_s": first_s["tunedbs"], "torch_first_call_s": first_s["torchs"],
            "peak_mb": peak["tunedbs"], "torch_peak_mb": peak["torchs"], "error": error, "torch_error": torch_error,
            "notes": sorted({str(one.message) for one in said if issubclass(one.category, _warning())}),
            "failure": wrong(error, torch_error, self._permitted),
        }  # fmt: skip


def paired(times: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over the turns of one side's time over the other's: a host that is busy for a while is so for both."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def wrong(error: float | None, torch_error: float | None, permitted: float = 0.0) -> str:
    """Return what is wrong with a result; where torch's own is not finite, tunedb's need not be.

    `permitted` is the error that the declared precision permits, whatever torch's is in this mode.
    """
    if torch_error is None:
        return ""
    if error is None:
        return "tunedb's output is not finite, but torch's is"
    limit = FACTOR * max(torch_error, permitted) + TINY
    return "" if error <= limit else f"the error must be at most {limit:.3g}, but is {error:.3g}"


def errors_of(output: Any, reference: Sequence[torch.Tensor]) -> float | None:
    """Return the relative error (norm of the difference over norm) of an output; None where it is not finite."""
    pairs = list(zip(leaves(output), reference, strict=True))
    off = sum(float((one.double() - right.double()).norm() ** 2) for one, right in pairs)
    whole = sum(float(right.double().norm() ** 2) for _, right in pairs)
    error = (off / whole) ** 0.5
    return error if error < float("inf") else None  # NaN is not less


def leaves(output: Any) -> list[torch.Tensor]:
    """Return the tensors of an output, in their order."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = output.values()
    return [leaf for one in output if one is not None for leaf in leaves(one)]


def shaped(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """Return a tensor in a layout; channels_last is for four and five dimensions."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if layout != "channels_last" or tensor.dim() not in formats:
        return tensor
    return tensor.contiguous(memory_format=formats[tensor.dim()])


@contextlib.contextmanager
def fresh(place: Gpu | Cpu) -> Iterator[None]:
    """Keep nothing of what was compiled or captured before."""
    torch.compiler.reset()
    gc.collect()
    place.free()
    yield


@contextlib.contextmanager
def _precise() -> Iterator[None]:
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark = False, False, False
    try:
        yield
    finally:
        cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark = before


def _warning() -> type[Warning]:
    import tunedb

    return tunedb.TunedbWarning
