"""torch.compile's convolution, where Inductor has a Triton template that can race cuDNN, within a time limit."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["templated", "torch_compiled"]


def templated(problem: Any) -> bool:
    """Return whether Inductor has a Triton template for a convolution (torch/_inductor/kernel/conv.py)."""
    if problem.transposed or max(problem.dilation) > 1:
        return False
    if problem.rank > 1:
        return True
    from torch._inductor.kernel import conv

    depthwise = problem.groups == problem.c_in == problem.c_out > 1
    return depthwise and hasattr(conv, "depthwise_conv1d_template")  # since torch 2.12 or so


def torch_compiled(yardstick: Any, seconds: float) -> Callable[[], Any] | str:
    """Return torch.compile's convolution, its templates and cuDNN raced against each other; or why there is none."""
    import torch

    problem = yardstick.problem
    if not templated(problem):
        return "Inductor has no Triton template for it"
    from torch._inductor import config

    from tunedb.kernel import load

    module = load("aten")
    run = module.plan(problem, module.Config(), lambda _: None)
    torch.compiler.reset()
    compiled = torch.compile(run, mode="max-autotune-no-cudagraphs", dynamic=False, fullgraph=True)
    tensors = yardstick.torch_tensors

    def call() -> Any:
        with yardstick.settings():
            return compiled(*tensors)

    try:
        with _limited(seconds), config.patch(max_autotune_conv_backends="ATEN,TRITON"):
            call()
    except _OverdueError:
        return f"torch.compile took longer than {seconds:g} s"
    except Exception as error:  # noqa: BLE001 (a compiler's: its column stays empty, and says so)
        return (
            f"torch.compile failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:160]}"
        )
    return call


class _OverdueError(BaseException):
    """Not an Exception: what tries candidates catches those."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt the main thread after that time, and again while that is swallowed."""

    def late(*_: Any) -> None:
        if not finished:
            raise _OverdueError

    finished: list[bool] = []
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)
    try:
        yield
    finally:
        finished.append(True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
