"""What several families' weight layouts are made of: groups in front, taps as a forward convolution has them, residues."""

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
    """Return by_group with which a transposed problem of stride 1 is a forward one: its taps reversed."""
    given = by_group(problem, weight)
    return given.flip(3, 4, 5) if problem.transposed else given


def by_residue(
    problem: Problem,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    channels: int,
    span: int,
) -> "Callable[[Tensor], Tensor]":
    """Return what makes [groups, c_out, residues of three axes, window of three axes, channels] of a weight: see residue_major."""
    groups, c_in, c_out = problem.groups, problem.c_in // problem.groups, problem.c_out // problem.groups
    counts = (residues[0][0], residues[1][0], span)
    places = []  # for each axis: (q, tap, place in the window)
    for axis, ((length, *_, lead), (live, gap, first)) in enumerate(zip(sides, residues, strict=True)):
        k, s = problem.kernel[axis], problem.stride[axis]
        p, d = problem.padding[axis], problem.dilation[axis]
        if s == 1:
            places.append([(0, t, k - 1 - t) for t in range(k)])
        else:
            exact = [
                (q, t, (first + gap * q + p - t * d) // s + lead)
                for t in range(k)
                for q in range(live)
                if (first + gap * q + p - t * d) % s == 0
            ]
            places.append(exact)
        assert all(0 <= place < length for _, _, place in places[-1])
    lengths = [side[0] for side in sides]

    def dense_of(weight: "Tensor") -> "Tensor":
        given = by_group(problem, weight)
        dense = weight.new_zeros(groups, c_out, *counts, *lengths, channels)
        for (r_d, k_d, e_d), (r_h, k_h, e_h), (r_w, k_w, e_w) in itertools.product(*places):
            dense[:, :, r_d, r_h, r_w, e_d, e_h, e_w, :c_in] = given[..., k_d, k_h, k_w]
        return dense

    return dense_of


def nearest_tf32(tensor: "Tensor") -> "Tensor":
    """Return float32 values rounded to TF32's 10 mantissa bits, ties away from zero; NaN and infinity stay."""
    import torch

    bits = (tensor.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(tensor.isfinite(), bits.view(torch.float32), tensor)
