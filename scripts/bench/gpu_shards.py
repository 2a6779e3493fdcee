"""Deal work out to one process a GPU: a script that is run again with `--work 3,1,2`, and answers a line each.

An answer is one line of JSON on the child's stdout, an object whose first key is "index". A child that dies costs the
piece of work it was at; one that has said so itself (status LOST: its CUDA context is gone) costs nothing more.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["LOST", "answer", "chosen_gpus", "dealt", "said_of"]

LOST = 75  # exit status of a child whose CUDA context is lost, after it has said so
_MARK = '{"index":'

Answer = dict[str, Any]


def chosen_gpus(text: str) -> list[int]:
    """Return the indices that "all" or "0,1" stands for."""
    import torch

    return [*range(torch.cuda.device_count())] if text == "all" else [*map(int, text.split(","))]


def answer(index: int, **found: Any) -> None:
    """Say, in a child, what a piece of work gave."""
    print(json.dumps({"index": index, **found}), flush=True)


def said_of(error: Exception) -> str:
    """Return an error in a line, as an answer can tell it."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def dealt(
    command: Sequence[str],
    order: Sequence[int],
    gpus: Sequence[int],
    deadline: float,
    say: Callable[[Answer], None] = lambda _: None,
) -> dict[int, Answer]:
    """Return the answer to each index; {"index", "died": why} for one that cost its process.

    `order` is the dearest first: it is dealt out in turn, so that the GPUs end together. What has not been
    answered at the deadline (of time.monotonic) is missing.
    """
    with ThreadPoolExecutor(len(gpus)) as threads:
        shards = threads.map(
            lambda place: _shard(command, order[place :: len(gpus)], gpus[place], deadline, say),
            range(len(gpus)),
        )
        return {found["index"]: found for shard in shards for found in shard}


def _shard(
    command: Sequence[str], order: Sequence[int], gpu: int, deadline: float, say: Callable[[Answer], None]
) -> list[Answer]:
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible[gpu] if gpu < len(visible) else str(gpu)}
    found: list[Answer] = []
    left = list(order)
    while left and time.monotonic() < deadline:
        child = subprocess.Popen(  # noqa: S603 (the script that asks, run again)
            [sys.executable, *command, "--work", ",".join(map(str, left))],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        timer = threading.Timer(deadline - time.monotonic(), child.kill)
        timer.start()
        with child:
            for one in _answers(child):
                say(one)
                found.append(one)
                left.remove(one["index"])
        timer.cancel()
        if left and child.returncode != LOST and time.monotonic() < deadline:
            died = {
                "index": left.pop(0),
                "died": f"the process ended with exit status {child.returncode}",
            }
            say(died)
            found.append(died)
    return found


def _answers(child: "subprocess.Popen[str]") -> Iterator[Answer]:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(_MARK):
            yield json.loads(line)
