"""How a model is run: eager, captured in a CUDA graph, compiled, compiled with reduce-overhead; on a GPU or, to try it, a CPU."""

import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = ["Cpu", "Gpu", "Meta", "Prepared", "prepared"]

WARM_UPS = 3
RECOMPILATIONS = 64  # of a function, for both sides together
MB = 1e6


class Gpu:
    """The first GPU that this process sees."""

    device = "cuda"
    backend = "inductor"

    def wait(self) -> None:
        torch.cuda.synchronize()

    def allocated(self) -> float:
        return torch.cuda.memory_allocated() / MB

    def peak_from_here(self) -> None:
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float:
        return torch.cuda.max_memory_allocated() / MB

    def free(self) -> None:
        torch.cuda.empty_cache()

    def warmed(self, call: Callable[[], Any]) -> None:
        """Warm up for a capture as torch's documentation says it: on a side stream, which is not the capture's."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                call()
        torch.cuda.current_stream().wait_stream(stream)

    def graph(self, call: Callable[[], Any]) -> Callable[[], Any]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = call()

        def replay() -> Any:
            graph.replay()
            return out

        return replay


class Cpu:
    """Stands in for a GPU: nothing is captured, memory is not counted, and what is compiled stays as it was traced."""

    device = "cpu"
    backend = "eager"

    def wait(self) -> None:
        pass

    def allocated(self) -> float:
        return 0.0

    def peak_from_here(self) -> None:
        pass

    def peak(self) -> float:
        return 0.0

    def free(self) -> None:
        pass

    def warmed(self, call: Callable[[], Any]) -> None:
        call()

    def graph(self, call: Callable[[], Any]) -> Callable[[], Any]:
        return call


class Meta(Cpu):
    """No place at all: shapes without numbers, enough to capture a model."""

    device = "meta"


class Prepared(NamedTuple):
    """A model ready to be timed: how long it took to make and to call first, and the memory above what was there before."""

    call: Callable[[], Any]
    first_s: float
    peak_mb: float


def prepared(
    mode: str, model: nn.Module, inputs: tuple[torch.Tensor, ...], place: Gpu | Cpu, side: str
) -> Prepared:
    """Return a model in a mode; it has been called before in eager mode. `side` is a name: torchs or tunedbs.

    The peak is that of a call, or of the capture, when everything has been searched for and compiled.
    """
    before, start = place.allocated(), time.perf_counter()

    def call() -> Any:
        return model(*inputs)

    if mode == "graph":
        place.warmed(call)
        place.wait()
        place.peak_from_here()
        call = place.graph(call)
        call()
        place.wait()
        return Prepared(call, time.perf_counter() - start, place.peak() - before)
    if mode != "eager":
        compiled = _compiled(model, mode, place, side)

        def call() -> Any:
            return compiled(*inputs)

    call()
    place.wait()
    first_s = time.perf_counter() - start
    place.peak_from_here()
    call()  # reduce-overhead captures in its second call
    place.wait()
    return Prepared(call, first_s, place.peak() - before)


def _compiled(model: nn.Module, mode: str, place: Gpu | Cpu, side: str) -> Callable[..., Any]:
    """Compile a function of its own for each side.

    torch keeps compiled code by the code that was traced, which is the same for two models of one class: torch's would
    stand in front of tunedb's, and each call would try both. A module's own code, behind a graph break, has the two in one list
    all the same, so that torch's limit of 8 is lifted: else the side that is compiled second is left uncompiled.
    """
    torch._dynamo.config.recompile_limit = RECOMPILATIONS  # noqa: SLF001 (torch's documentation names it so)

    def forward(*inputs: torch.Tensor) -> Any:
        return model(*inputs)

    own = types.FunctionType(
        forward.__code__.replace(co_name=side), globals(), side, None, forward.__closure__
    )
    options: dict[str, Any] = {}
    if place.backend == "inductor" and mode == "compiled_graph":
        options["mode"] = "reduce-overhead"
    return torch.compile(own, backend=place.backend, **options)
