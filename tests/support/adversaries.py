"""Kernels that are right at first sight, each wrong in its own way; `exact` of fake_bench is the honest one beside them.

Each is made by a function of a random generator, and runs on the CPU and on a GPU. Those that hang, crash or lose the GPU's
context are in landscape.py, since they need a process of their own.
"""

import threading
import time

import torch
from fake_bench import exact

__all__ = ["ADVERSARIES"]


def _damaged(out, value):
    out.view(-1)[out.numel() // 3] = value
    return out


def racy(chance):
    def made(random):
        def run(x, weight, bias, out):
            exact(x, weight, bias, out)
            return _damaged(out, 0.5) if random.random() < chance else out

        return run

    return made


def nan_writing(random):
    """Leaves one element out in one call of twenty."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)
        return _damaged(out, float("nan")) if random.random() < 0.05 else out

    return run


def lazy(_random):
    """Does nothing where the output already holds a result."""

    def run(x, weight, bias, out):
        return exact(x, weight, bias, out) if out.isnan().any() or not out.any() else out

    return run


def lazier(_random):
    """Works in its first call only, and writes the same result from memory of its own afterwards, half of it."""
    kept = []

    def run(x, weight, bias, out):
        if not kept:
            kept.append(exact(x, weight, bias, out).clone())
            return out
        half = out.shape[0] // 2
        out[:half] = kept[0][:half]
        return out

    return run


def clipping(_random):
    """Is right for inputs of ordinary size only."""

    def run(x, weight, bias, out):
        return exact(x.clamp(-6, 6), weight, bias, out)

    return run


def writes_behind(_random):
    """Writes past the end of its output."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)
        out.as_strided((out.numel() + 3,), (1,))[-1] = 0.25
        return out

    return run


def writes_before_its_input(_random):
    def run(x, weight, bias, out):
        x.as_strided((5,), (1,), x.storage_offset() - 5).fill_(1.0)
        return exact(x, weight, bias, out)

    return run


def reads_behind(_random):
    """Takes the element behind its input for a part of it."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)
        behind = x.as_strided((x.numel() + 1,), (1,))[-1]
        out.view(-1)[-1:] += behind * 0
        return out

    return run


def input_changing(_random):
    """Is right, and leaves an element of its input changed."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)
        x.view(-1)[3] += 1
        return out

    return run


def weight_changing(random):
    """Changes the weight in one call of ten, behind its own back."""

    def run(x, weight, bias, out):
        exact(x, weight, bias, out)
        if random.random() < 0.1:
            weight.data.view(-1)[0] += 1
        return out

    return run


def stream_escaping(_random):
    """Returns before its result is there: on a GPU by a stream of its own, on a CPU by a thread."""
    streams = []

    def run(x, weight, bias, out):
        if x.is_cuda:
            streams.append(torch.cuda.Stream()) if not streams else None
            with torch.cuda.stream(streams[0]):
                return exact(x, weight, bias, out)
        threading.Thread(target=lambda: (time.sleep(0.002), exact(x, weight, bias, out))).start()
        return out

    return run


ADVERSARIES = {
    "wrong in 1 % of calls": racy(0.01),
    "wrong in 5 % of calls": racy(0.05),
    "wrong in 25 % of calls": racy(0.25),
    "NaN in 5 % of calls": nan_writing,
    "lazy": lazy,
    "lazier": lazier,
    "clipping": clipping,
    "writes behind its output": writes_behind,
    "writes before its input": writes_before_its_input,
    "reads behind its input": reads_behind,
    "changes its input": input_changing,
    "changes its weight": weight_changing,
    "escapes by another stream": stream_escaping,
}
