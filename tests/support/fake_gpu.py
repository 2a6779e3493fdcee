"""A GPU that is not there: calls get real answers, signatures and plans for it, and only compiling and launching is played."""

import contextlib

import torch
from isolated_plans import isolate

import tunedb.compile
from tunedb import device, launch
from tunedb.device import by_slug
from tunedb.dispatch import plans
from tunedb.launch import dense_strides


class OnFakeGpu:
    """What a plan asks of a tensor. A subclass of torch's would take longer to answer than a real tensor."""

    is_cuda = True
    device = torch.device("cuda", 0)
    requires_grad = False

    def __init__(self, shape, dtype):
        self.shape, self.dtype = torch.Size(shape), dtype
        self._strides = dense_strides(tuple(shape), "channels_first")

    def dim(self):
        return len(self.shape)

    def stride(self):
        return self._strides

    def numel(self):
        return self.shape.numel()

    def is_contiguous(self, memory_format=None):
        return memory_format in {None, torch.contiguous_format}


def fake_gpu(monkeypatch, slug):
    """Let plans be made for a GPU of the catalogue; return the signatures that were compiled since."""
    compiled, here = [], by_slug(slug)

    def compile_(signature, _):
        compiled.append(signature)
        return object()

    isolate(monkeypatch)
    monkeypatch.setattr(launch, "_handles", {})
    monkeypatch.setattr(plans, "_emulated", lambda: False)
    monkeypatch.setattr(plans, "current", lambda _: here)
    monkeypatch.setattr(device, "current", lambda _: here)
    monkeypatch.setattr(tunedb.compile, "compiled", compile_)
    monkeypatch.setattr(launch, "is_tested", lambda: True)
    monkeypatch.setattr(launch, "direct_launch", lambda _: (lambda *_: None, ()))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return compiled
