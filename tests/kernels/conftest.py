"""A process that runs kernels: on the GPU where there is one, else in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[1] / "support" / "kernel_server.py"


def serve(place: str, *options: str, interpreted: bool) -> subprocess.Popen:
    environment = {**os.environ, "TRITON_INTERPRET": "1"} if interpreted else dict(os.environ)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SERVER), place, *options],
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


@pytest.fixture(scope="module")
def run_kernel_plainly():
    """Like run_kernel, in Triton's interpreter as it comes."""
    server = serve("cpu", "plain", interpreted=True)
    yield lambda *case: asked(server, *case)
    server.stdin.close()
    server.wait(30)


@pytest.fixture(scope="session")
def run_kernel():
    """A function of name, problem and config JSON that returns error and unwritten."""
    import torch

    on_gpu = torch.cuda.is_available()
    server = serve("cuda" if on_gpu else "cpu", interpreted=not on_gpu)

    yield lambda *case: asked(server, *case)
    server.stdin.close()
    server.wait(30)
