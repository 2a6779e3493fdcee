"""Weights laid out for the kernels, packed once for each weight tensor."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunedb.packer import Packer
from tunedb.problem import ITEM_BYTES, Problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "column_major",
    "core_major",
    "k_major",
    "residue_major",
    "row_length",
    "tap_major",
    "width_major",
    "width_row",
    "window_major",
    "window_row",
]

ALIGNMENT = 16  # elements: rows start on 32 bytes or more, so that copies can be 128 bits wide


def _by_group(problem: Problem, weight: "Tensor") -> "Tensor":
    """Return a weight as [groups, c_out of a group, c_in of a group, k_d, k_h, k_w], forward or transposed."""
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    if problem.transposed:
        return weight.reshape(problem.groups, c_in, c_out, *problem.kernel).transpose(1, 2)
    return weight.reshape(problem.groups, c_out, c_in, *problem.kernel)


def _as_forward(problem: Problem, weight: "Tensor") -> "Tensor":
    """Return _by_group with which a transposed problem of stride 1 is a forward one: its taps reversed."""
    given = _by_group(problem, weight)
    return given.flip(3, 4, 5) if problem.transposed else given


def row_length(problem: Problem) -> int:
    """Return the elements of a row of a K-major packed weight: taps * input channels of a group, padded."""
    return -(-math.prod(problem.kernel) * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def k_major(problem: Problem, *, rounded: bool) -> Packer:
    """Return a packer to [c_out, row_length]: for each output channel the taps, for each tap the channels.

    `rounded` rounds float32 to the nearest TF32, which costs nothing here and halves the error of a product.
    """
    taps, groups, row = math.prod(problem.kernel), problem.groups, row_length(problem)
    c_in, c_out = problem.c_in // groups, problem.c_out // groups

    def pack(weight: "Tensor") -> "Tensor":
        ordered = _by_group(problem, weight).flatten(3).permute(0, 1, 3, 2)
        packed = weight.new_zeros(groups * c_out, row)
        packed[:, : taps * c_in] = ordered.reshape(groups * c_out, taps * c_in)
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)


def width_row(problem: Problem) -> int:
    """Return the elements of a row of a width-major packed weight: depth and height taps * input channels, padded."""
    return -(-problem.k_d * problem.k_h * (problem.c_in // problem.groups) // ALIGNMENT) * ALIGNMENT


def width_major(problem: Problem, *, rounded: bool) -> Packer:
    """Return a packer to [groups, k_w, c_out of a group, width_row]: a K-major matrix for every width tap."""
    groups, row = problem.groups, width_row(problem)
    c_in, c_out = problem.c_in // groups, problem.c_out // groups
    others, k_w = problem.k_d * problem.k_h, problem.k_w

    def pack(weight: "Tensor") -> "Tensor":
        ordered = _by_group(problem, weight).flatten(3, 4).permute(0, 4, 1, 3, 2)
        packed = weight.new_zeros(groups, k_w, c_out, row)
        packed[..., : others * c_in] = ordered.reshape(groups, k_w, c_out, others * c_in)
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)


def window_row(run: int) -> int:
    """Return the elements that a run of a window takes in a packed weight."""
    return -(-run // ALIGNMENT) * ALIGNMENT


def window_major(problem: Problem, inner: int, channels: int, span: int, *, rounded: bool) -> Packer:
    """Return a packer to [c_out * span, runs, window_row]: the weights in the order of a packed input's window.

    `inner` is the axis (0 depth, 1 height, 2 width) whose taps are one run where it is not dilated, `channels` the
    padded input channels of a group. A window serves `span` outputs along that axis: the rows of an output have its
    weights at its own place in the window and zeros elsewhere. Rows are (group, output of the span, channel) in
    channels_last and (group, channel, output of the span) in channels_first. Transposed problems (of stride 1) have
    their taps reversed. `rounded` as in k_major.
    """
    import torch

    groups, c_in, c_out = problem.groups, problem.c_in // problem.groups, problem.c_out // problem.groups
    outer = [axis for axis in (0, 1, 2) if axis != inner]
    taps, step = problem.kernel[inner], 1 if problem.transposed else problem.stride[inner]
    if problem.dilation[inner] == 1:
        run, runs = ((span - 1) * step + taps) * channels, math.prod(problem.kernel) // taps
    else:
        run, runs = channels, math.prod(problem.kernel)

    def pack(weight: "Tensor") -> "Tensor":
        ordered = _as_forward(problem, weight).permute(0, 1, 3 + outer[0], 3 + outer[1], 3 + inner, 2)
        padded = torch.nn.functional.pad(ordered, (0, channels - c_in))
        if span == 1:
            rows = padded.reshape(groups * c_out, runs, run)
        else:
            ahead = [
                torch.nn.functional.pad(padded, (0, 0, s * step, (span - 1 - s) * step)) for s in range(span)
            ]
            rows = torch.stack(ahead, 1 if problem.layout == "channels_last" else 2)
        return _runs_of_rows(rows, runs, run, rounded=rounded)

    return Packer(pack)


def residue_major(
    problem: Problem,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    channels: int,
    span: int,
    *,
    rounded: bool,
) -> Packer:
    """Return a packer to [c_out * live residues, runs, window_row] for a strided transposed problem.

    For depth, height and width `residues` are (live, gap, first) and `sides` (window length, …, lead) as in
    kernels/packing.py: output residue r = first + gap * q meets weight k at the window's place
    (r + padding - k * dilation) / stride + lead, where that is exact; elsewhere there are zeros. Rows are (group, channel,
    depth, height and width q) in channels_first and (group, q of the three, channel) in channels_last; the width's
    q are made up to `span`. `rounded` as in k_major.
    """
    lengths = [side[0] for side in sides]
    # A dilated width is not one run: its taps count among the runs.
    together = 1 if problem.stride_w == 1 and problem.dilation_w > 1 else lengths[2]
    run, runs = together * channels, math.prod(lengths) // together

    by_residue = _by_residue(problem, residues, sides, channels, span)

    def pack(weight: "Tensor") -> "Tensor":
        dense = by_residue(weight)
        if problem.layout == "channels_last":
            dense = dense.permute(0, 2, 3, 4, 1, 5, 6, 7, 8)
        return _runs_of_rows(dense, runs, run, rounded=rounded)

    return Packer(pack)


def _by_residue(
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
        given = _by_group(problem, weight)
        dense = weight.new_zeros(groups, c_out, *counts, *lengths, channels)
        for (r_d, k_d, e_d), (r_h, k_h, e_h), (r_w, k_w, e_w) in itertools.product(*places):
            dense[:, :, r_d, r_h, r_w, e_d, e_h, e_w, :c_in] = given[..., k_d, k_h, k_w]
        return dense

    return dense_of


def _runs_of_rows(dense: "Tensor", runs: int, run: int, *, rounded: bool) -> "Tensor":
    """Return [rows, runs, window_row] of rows of `runs * run` weights."""
    rows = dense.reshape(-1, runs, run)
    packed = dense.new_zeros(rows.shape[0], runs, window_row(run))
    packed[..., :run] = rows
    return nearest_tf32(packed) if rounded else packed


def tap_major(problem: Problem) -> Packer:
    """Return a packer to [taps, c_out] for depthwise weights, whose groups have one input channel."""
    import torch

    taps = math.prod(problem.kernel)

    def pack(weight: "Tensor") -> "Tensor":
        # A copy even where nothing moves: the user's own weight may start at an address that is not aligned.
        return weight.reshape(problem.c_out, taps).t().clone(memory_format=torch.contiguous_format)

    return Packer(pack)


def column_major(problem: Problem, *, rows: int, row: int) -> Packer:
    """Return a packer to [groups, taps, rows, row]: for every tap the output channels of every input channel of a group.

    `rows` and `row` are the input and output channels of a group, padded with zeros.
    """
    taps, groups = math.prod(problem.kernel), problem.groups
    c_in, c_out = problem.c_in // groups, problem.c_out // groups

    def pack(weight: "Tensor") -> "Tensor":
        packed = weight.new_zeros(groups, taps, rows, row)
        packed[:, :, :c_in, :c_out] = _by_group(problem, weight).flatten(3).permute(0, 3, 2, 1)
        return packed

    return Packer(pack)


def core_major(
    problem: Problem,
    *,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    wide: int,
    stack: int,
    high: int,
    block_m: int,
    block_k: int,
    few: bool,
    rounded: bool,
) -> Packer:
    """Return a packer to [groups * residues * blocks, steps, taps, block_k / vector, block_m, vector], for kernels/shared_rows.py.

    The order in which the matrix units read them: vectors of 16 bytes, 8 of them at a time. A block's rows are `stack`
    neighbouring outputs along the height by channels: each has its weights at its own place among the height taps and zeros
    elsewhere. Steps are depth taps, height taps by `high`, and input channels by block_k; the taps of a step are `high` height
    taps by all width taps. With `few`, of at most 4 input channels, block_k are 4 channels of block_k / 4 neighbouring width
    taps, which are one. Transposed problems of stride 1 have their taps reversed; others have `residues` and `sides` as in
    residue_major, and a block's rows are the width's residues, made up to `wide`, by channels: residues innermost in
    channels_first. `rounded` as in k_major.
    """
    import torch

    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    vector = 16 // ITEM_BYTES[problem.dtype]
    strided = problem.transposed and max(problem.stride) > 1
    of_line = block_m // (stack * wide)
    blocks, chunks = -(-c_out // of_line), -(-c_in // block_k)
    together = block_k // 4
    by_residue = _by_residue(problem, residues, sides, c_in, wide) if strided else None

    def lines(weight: "Tensor") -> "list[Tensor]":
        """Return [groups, c_out, channels, taps of three axes] for each line of a block."""
        if by_residue is not None:
            apart = by_residue(weight).permute(4, 0, 2, 3, 1, 8, 5, 6, 7).flatten(1, 3)
            return list(apart)
        given = _as_forward(problem, weight)
        if few:
            given = torch.nn.functional.pad(given, (0, -problem.k_w % together, 0, 0, 0, 0, 0, 4 - c_in))
            given = given.reshape(*given.shape[:5], -1, together).permute(0, 1, 6, 2, 3, 4, 5).flatten(2, 3)
        return [torch.nn.functional.pad(given, (0, 0, s, stack - 1 - s)) for s in range(stack)]

    def pack(weight: "Tensor") -> "Tensor":
        found = torch.stack(lines(weight), 1)
        *_, k_d, k_h, _ = found.shape
        more = (0, 0, 0, 0, 0, 0, 0, chunks * block_k - found.shape[3], 0, blocks * of_line - c_out)
        dense = torch.nn.functional.pad(found, more).reshape(
            -1, stack * wide, blocks, of_line, chunks, block_k // vector, vector, k_d, k_h // high, high, found.shape[-1]
        )  # fmt: skip
        inner = (3, 1) if strided and problem.layout == "channels_first" else (1, 3)
        packed = dense.permute(0, 2, 7, 8, 4, 9, 10, 5, *inner, 6).contiguous()
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)


def nearest_tf32(tensor: "Tensor") -> "Tensor":
    """Return float32 values rounded to TF32's 10 mantissa bits, ties away from zero; NaN and infinity stay."""
    import torch

    bits = (tensor.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(tensor.isfinite(), bits.view(torch.float32), tensor)
