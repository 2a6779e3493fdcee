"""The process that ncu watches: each call is made ready unwatched, then a mark is launched and the call once, watched."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tunedb import launch
from tunedb.kernel import config_from_json, load
from tunedb.problem import Problem, checked

__all__ = ["MARK", "Gpu", "Place", "count", "main"]

MARK = "triu_tril"  # in the name of torch.tril's kernel, which no convolution launches


class Place(Protocol):
    device: str

    def wait(self) -> None: ...

    def watched(self, *, on: bool) -> None: ...

    def mark(self) -> None: ...


class Gpu:
    """The first GPU that this process sees."""

    device = "cuda"

    def __init__(self) -> None:
        import torch

        # Made before anything is watched: to fill it is a launch too, which would count as the job's before.
        self._square = torch.ones(2, 2, device=self.device)

    def wait(self) -> None:
        import torch

        torch.cuda.synchronize()

    def watched(self, *, on: bool) -> None:
        import torch

        (torch.cuda.profiler.start if on else torch.cuda.profiler.stop)()  # type: ignore[no-untyped-call]

    def mark(self) -> None:
        import torch

        torch.tril(self._square)


def main(argv: Sequence[str]) -> int:
    """Make the calls of a file: [[kernel, problem, config], ...]."""
    given = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    count(((kernel, checked(Problem(*problem)), config) for kernel, problem, config in given), Gpu())
    return 0


def count(jobs: Iterable[tuple[str, Problem, str]], place: Place) -> None:
    """Launch a mark for each job and, behind it, what the job's config launches. One that fails leaves its mark alone."""
    for kernel, problem, config in jobs:
        try:
            call = _call(kernel, problem, config, place)
            call()
        except Exception as error:  # noqa: BLE001 (a compiler, a driver: it costs this job)
            sys.stderr.write(f"{kernel} {config}: {error}\n")
            call = None
        place.wait()
        place.watched(on=True)
        place.mark()
        if call is not None:
            call()
        place.wait()
        place.watched(on=False)


def _call(kernel: str, problem: Problem, config: str, place: Place) -> Callable[[], Any]:
    import torch

    module, kind = load(kernel), getattr(torch, problem.dtype)
    form = torch.contiguous_format
    if problem.layout == "channels_last":
        form = torch.channels_last if problem.rank == 2 else torch.channels_last_3d
    with torch.inference_mode(mode=False):
        x, weight = (
            torch.randn(shape, device=place.device, dtype=kind).contiguous(memory_format=form)
            for shape in (problem.input_shape, problem.weight_shape)
        )
        bias = torch.randn(problem.c_out, device=place.device, dtype=kind) if problem.bias else None
        kept = torch.nn.Parameter(weight, requires_grad=False)  # its packed copy is kept, as a module's is
    run = module.plan(problem, config_from_json(module, config), launch.launcher)
    return lambda: run(x, kept, bias)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
