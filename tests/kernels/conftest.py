"""A process that runs kernels: on the GPU where there is one, else in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[1] / "support" / "kernel_server.py"


def serve(place: str, *, interpreted: bool) -> subprocess.Popen:
    environment = {**os.environ, "TRITON_INTERPRET": "1"} if interpreted else dict(os.environ)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SERVER), place],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def run_kernel():
    """A function of name, problem and config JSON that returns error and unwritten."""
    import torch

    on_gpu = torch.cuda.is_available()
    server = serve("cuda" if on_gpu else "cpu", interpreted=not on_gpu)

    def run(kernel, problem, config):
        server.stdin.write(json.dumps({"kernel": kernel, "problem": list(problem), "config": config}) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        assert "failed" not in answer, answer["failed"]
        return answer

    yield run
    server.stdin.close()
    server.wait(30)
