"""Processes that never outlive the one that started them, and what is handed to them by name."""

import ctypes
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

__all__ = ["Parts", "resolve", "settle", "start"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Parts(NamedTuple):
    """What a sweep is made of, as `module` or `module:attribute`; tests put a recorded landscape here."""

    kernels: str = "tunedb.kernel"  # names(), load(name), source_hash(name)
    compiler: str = "tunedb.compile:compile_candidate"
    bench: str = "tunedb.measure:Bench"
    predictor: str = "tunedb.predict:predict_us"
    environment: str = "tunedb.measure:environment"


def resolve(text: str) -> Any:
    """Return what a text such as `module:attribute` names."""
    module, _, attribute = text.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def start(target: Callable[..., None], *args: Any) -> SpawnProcess:
    """Start `target(parent, *args)` in a new interpreter; `parent` is this process's id, for `settle`.

    A fresh interpreter, because a forked one would inherit locks of torch's threads and a CUDA context.
    Ctrl-C is held back meanwhile, so that a child that is still importing never answers to it.
    """
    process = multiprocessing.get_context("spawn").Process(target=target, args=(os.getpid(), *args))
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return process


def settle(parent: int) -> None:
    """Make this process die with its parent, leave Ctrl-C to it, and compile for real GPUs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Triton reads it once, when it is imported: a child never interprets.
    os.environ.pop("TRITON_INTERPRET", None)
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        return  # not Linux: the closed pipe ends it, a little later
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the request was made
