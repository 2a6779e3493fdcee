"""Child processes that die with their parent, and the parts of a sweep, which they get by name."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Child", "Parts", "resolve", "serve", "start"]

_FIRST = Path(__file__).with_name("child_start.py")


class Parts(NamedTuple):
    """What a sweep is made of, as `module` or `module:attribute`; tests put a recorded landscape here."""

    kernels: str = "tunedb.kernel"  # names(), load(name), source_hash(name)
    compiler: str = "tunedb.compile:compile_candidate"
    bench: str = "tunedb.measure.bench:Bench"
    predictor: str = (
        "tunedb.tune.predict.expected:compile_and_expect"  # in the compiler's place, without a GPU
    )
    environment: str = "tunedb.measure.versions:environment"
    torch_time: str = "tunedb.tune.predict.torch_time:torch_us"


def resolve(text: str) -> Any:
    """Return what a text such as `module:attribute` names."""
    module, _, attribute = text.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


class Child(NamedTuple):
    """A process and the pipe to it; reading raises EOFError once it has ended."""

    conn: Connection
    process: "subprocess.Popen[bytes]"

    def kill(self) -> int:
        """End it at once; return its exit status, negative for a signal."""
        self.process.kill()
        status = self.process.wait()
        self.conn.close()
        return status


def start(target: Callable[..., None], *args: Any) -> Child:
    """Call `target(conn, *args)` in a new interpreter that dies with this process.

    A fresh interpreter, because a forked one would inherit locks of torch's threads and a CUDA context; and
    not multiprocessing's, because that runs the caller's script again. Ctrl-C is held back meanwhile, so
    that a child that is still importing never answers to it.
    """
    ours, theirs = Pipe()
    # Triton reads TRITON_INTERPRET when it is imported: a child compiles for real GPUs.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(  # noqa: S603 (this interpreter, on our own code)
            [sys.executable, "-P", str(_FIRST), str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
    ours.send((target, args))
    return Child(ours, process)


def serve(descriptor: int) -> None:
    """Call what the parent sends, in the child."""
    conn = Connection(descriptor)
    try:
        target, args = conn.recv()
        target(conn, *args)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
