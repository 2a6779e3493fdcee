"""Steps that several families' weight layouts share: by group, as a forward convolution, by residue, rounded to TF32."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ALIGNMENT", "as_forward", "by_group", "by_residue", "nearest_tf32"]

ALIGNMENT = 16  # elements: rows start on 32 bytes or more, so that copies can be 128 bits wide


def by_group(problem: Problem, weight: "Tensor") -> "Tensor":
    """Return a weight as [groups, c_out of a group, c_in of a group, k_d, k_h, k_w], forward or transposed."""
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if problem.transposed:
        return weight.reshape(problem.groups, c_in, c_out, *problem.kernel).transpose(1, 2)
    return weight.reshape(problem.groups, c_out, c_in, *problem.kernel)


def as_forward(problem: Problem, weight: "Tensor") -> "Tensor":
    """Return by_group of the forward convolution that a problem equals: a transposed one of stride 1 with its taps reversed."""
    grouped = by_group(problem, weight)
    return grouped.flip(3, 4, 5) if problem.transposed else grouped


def by_residue(
    problem: Problem,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    channels: int,
    span: int,
) -> "Callable[[Tensor], Tensor]":
    """Return a function to [groups, c_out, live residues of three axes, window of three axes, channels] of a weight.

    For depth, height and width `residues` are (live, gap, first) and `sides` (taps of the window, ..., lead), as Residues
    and Side of packing.py. Output residue r = first + gap * q meets tap k of the kernel at tap
    (r + padding - k * dilation) / stride + lead of the window, where that is exact; all else is zero. The width's residues
    are made up to `span`, and input channels to `channels`.
    """
    groups, c_in, c_out = problem.groups, problem.c_in // problem.groups, problem.c_out // problem.groups
    counts = (residues[0][0], residues[1][0], span)
    meetings = []  # for each axis: (q, tap of the kernel, tap of the window)
    for axis, ((length, *_, lead), (live, gap, first)) in enumerate(zip(sides, residues, strict=True)):
        k, s = problem.kernel[axis], problem.stride[axis]
        p, d = problem.padding[axis], problem.dilation[axis]
        if s == 1:
            meetings.append([(0, t, k - 1 - t) for t in range(k)])
        else:
            exact = [
                (q, t, (first + gap * q + p - t * d) // s + lead)
                for t in range(k)
                for q in range(live)
                if (first + gap * q + p - t * d) % s == 0
            ]
            meetings.append(exact)
        assert all(0 <= window_tap < length for _, _, window_tap in meetings[-1])
    lengths = [side[0] for side in sides]

    def dense_of(weight: "Tensor") -> "Tensor":
        grouped = by_group(problem, weight)
        dense = weight.new_zeros(groups, c_out, *counts, *lengths, channels)
        for (r_d, k_d, e_d), (r_h, k_h, e_h), (r_w, k_w, e_w) in itertools.product(*meetings):
            dense[:, :, r_d, r_h, r_w, e_d, e_h, e_w, :c_in] = grouped[..., k_d, k_h, k_w]
        return dense

    return dense_of


def nearest_tf32(tensor: "Tensor") -> "Tensor":
    """Return float32 values rounded to TF32's 10 mantissa bits, ties away from zero; NaN and infinity stay."""
    import torch

    bits = (tensor.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(tensor.isfinite(), bits.view(torch.float32), tensor)
