"""Stands in for cuDNN's convolutions, on the CPU: under racecheck some of cuDNN's kernels end the process, which hides ours."""

import torch

__all__ = ["install"]


def install() -> None:
    """Put functions of the same signatures in the place of torch's two bindings."""
    torch.cudnn_convolution = _forward
    torch.cudnn_convolution_transpose = _transposed


def _forward(x, weight, padding, stride, dilation, groups, *_settings, out=None):
    found = _computed(x, weight, stride, padding, dilation, False, (0,) * len(stride), groups)
    return found if out is None else out.copy_(found)


def _transposed(x, weight, padding, output_padding, stride, dilation, groups, *_settings):
    return _computed(x, weight, stride, padding, dilation, True, output_padding, groups)


def _computed(x, weight, *sizes):
    made = torch.convolution(x.cpu().float(), weight.cpu().float(), None, *sizes).to(x.dtype)
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return made.contiguous(memory_format=last).to(x.device)
