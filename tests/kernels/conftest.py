"""A process that runs kernels: on the GPU where there is one, else in Triton's interpreter.

TUNEDB_RUN_UNDER names a command that the process is run under, such as compute-sanitizer with its options; with TUNEDB_CUDNN_ON_CPU
set, the CPU computes what kernels ask cuDNN for.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[1] / "support" / "kernel_server.py"


def serve(place: str, *options: str, interpreted: bool) -> subprocess.Popen:
    environment = {**os.environ, "TRITON_INTERPRET": "1"} if interpreted else dict(os.environ)
    under = shlex.split(os.environ.get("TUNEDB_RUN_UNDER", ""))
    return subprocess.Popen(
        [*under, sys.executable, "-W", "ignore", str(SERVER), place, *options],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def asked(server, kernel, problem, config):
    """Return what a server answers."""
    server.stdin.write(json.dumps({"kernel": kernel, "problem": list(problem), "config": config}) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    assert "failed" not in answer, answer["failed"]
    return answer


def ended(server):
    """Let a server end; a checker that it ran under says by the status whether it found something."""
    server.stdin.close()
    assert server.wait(60) == 0, server.args


@pytest.fixture(scope="module")
def run_kernel_plainly():
    """Like run_kernel, in Triton's interpreter as it comes."""
    server = serve("cpu", "plain", interpreted=True)
    yield lambda *case: asked(server, *case)
    ended(server)


@pytest.fixture(scope="session")
def run_kernel():
    """A function of name, problem and config JSON that returns error and unwritten."""
    import torch

    on_gpu = torch.cuda.is_available()
    server = serve("cuda" if on_gpu else "cpu", interpreted=not on_gpu)

    yield lambda *case: asked(server, *case)
    ended(server)
