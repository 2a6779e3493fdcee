"""How packed lays out a weight: packed once for each weight tensor."""

import math
from typing import TYPE_CHECKING

from tunedb.kernels.shared.packing import Packing
from tunedb.kernels.shared.weight_layouts import ALIGNMENT, as_forward, by_residue, nearest_tf32

from tunedb.problem import Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["residue_major", "window_major", "window_row"]


def window_row(run: int) -> int:
    """Return the elements that a run of `run` elements takes in a packed weight."""
    return -(-run // ALIGNMENT) * ALIGNMENT


def window_major(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Packer:
    """Return a packer to [groups * columns, runs, window_row]: the weights in the order of a packed input's window.

    A window serves `span` outputs along the inner axis. The row of an output has its weights where the output's own window
    lies in the shared one, and zeros elsewhere:

        span 2, 3 taps:   output 0 = |w0|w1|w2| 0|    output 1 = | 0|w0|w1|w2|

    Rows are (group, output of the span, channel) in channels_last and (group, channel, output of the span) in
    channels_first. Transposed problems (of stride 1) have their taps reversed. `rounded` rounds float32 to the nearest TF32.
    """
    import torch

    inner, channels = packing.inner, packing.channels
    groups, c_in, c_out = problem.groups, problem.c_in // problem.groups, problem.c_out // problem.groups
    outer = [axis for axis in (0, 1, 2) if axis != inner]
    taps, step = problem.kernel[inner], 1 if problem.transposed else problem.stride[inner]
    if problem.dilation[inner] == 1:
        run, runs = ((span - 1) * step + taps) * channels, math.prod(problem.kernel) // taps
    else:
        run, runs = channels, math.prod(problem.kernel)

    def pack(weight: "Tensor") -> "Tensor":
        ordered = as_forward(problem, weight).permute(0, 1, 3 + outer[0], 3 + outer[1], 3 + inner, 2)
        padded = torch.nn.functional.pad(ordered, (0, channels - c_in))
        if span == 1:
            rows = padded.reshape(groups * c_out, runs, run)
        else:
            shifted = [
                torch.nn.functional.pad(padded, (0, 0, s * step, (span - 1 - s) * step)) for s in range(span)
            ]
            rows = torch.stack(shifted, 1 if problem.layout == "channels_last" else 2)
        return _runs_of_rows(rows, runs, run, rounded=rounded)

    return Packer(pack)


def residue_major(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Packer:
    """Return a packer to [groups * columns, runs, window_row] for a strided transposed problem: a row for each live residue.

    Output residue r = first + gap * q of an axis (see packing.Residues) meets tap k of the kernel at tap
    (r + padding - k * dilation) / stride + lead of the window, where that is exact; all other taps of the window are zeros.
    Rows are (group, channel, q of depth, height and width) in channels_first and (group, q of the three, channel) in
    channels_last; the width's q are made up to `span`. `rounded` rounds float32 to the nearest TF32.
    """
    channels = packing.channels
    lengths = [side.taps for side in packing.sides]
    # The taps of a dilated width are not neighbours: each is a run.
    together = 1 if problem.stride_w == 1 and problem.dilation_w > 1 else lengths[2]
    run, runs = together * channels, math.prod(lengths) // together

    dense_of = by_residue(problem, packing.residues, packing.sides, channels, span)

    def pack(weight: "Tensor") -> "Tensor":
        dense = dense_of(weight)
        if problem.layout == "channels_last":
            dense = dense.permute(0, 2, 3, 4, 1, 5, 6, 7, 8)
        return _runs_of_rows(dense, runs, run, rounded=rounded)

    return Packer(pack)


def _runs_of_rows(dense: "Tensor", runs: int, run: int, *, rounded: bool) -> "Tensor":
    """Return [rows, runs, window_row] of rows of `runs * run` weights."""
    rows = dense.reshape(-1, runs, run)
    packed = dense.new_zeros(rows.shape[0], runs, window_row(run))
    packed[..., :run] = rows
    return nearest_tf32(packed) if rounded else packed
