"""The pass over the input that writes it in the packed layout (shared/packing.py): padded, channels inside, rounded."""

from typing import Any, NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.shared.geometry import axes, problem_constants
from tunedb.kernels.shared.packing import (
    Packing,
    packed_elements,
    packed_length,
    packed_lengths,
    packed_strides,
    positions,
)
from tunedb.kernels.shared.precision import round_tf32
from tunedb.kernels.shared.tiles import divisor

from tunedb.kernel import Signature
from tunedb.launch import convolution_arguments
from tunedb.problem import ITEM_BYTES, Problem

__all__ = ["repack_signature"]


class Blocks(NamedTuple):
    """What a program of the pass packs at a time, in elements of the packed input; a compile-time constant."""

    rows: int
    columns: int
    channels: int
    align: int  # columns that a vector load takes


@triton.jit
def repack(
    x_ptr, w_ptr: tl.constexpr, b_ptr: tl.constexpr, y_ptr,  # noqa: ARG001 (every launch passes four pointers)
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: tl.constexpr, PACKING: tl.constexpr, BLOCKS: tl.constexpr, ROUNDED: tl.constexpr,
):  # fmt: skip
    """Pack x, [n, groups * c_in, in_d, in_h, in_w] in either layout, into y: every element that is ever read is written.

    PROBLEM: geometry.Constants; ROUNDED: whether float32 is rounded to the nearest TF32.
    """
    C_IN: tl.constexpr = PROBLEM.c_in
    GROUPS: tl.constexpr = PROBLEM.groups
    CHANNELS_LAST: tl.constexpr = PROBLEM.channels_last
    SIDE_D: tl.constexpr = PACKING.depth
    SIDE_H: tl.constexpr = PACKING.height
    SIDE_W: tl.constexpr = PACKING.width
    # A field of a NamedTuple is a plain value, which Triton does not take inside a shape. These have names, as constexprs.
    PACK_R: tl.constexpr = BLOCKS.rows
    PACK_W: tl.constexpr = BLOCKS.columns
    PACK_C: tl.constexpr = BLOCKS.channels
    pid = tl.program_id(0)
    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    len_d = packed_length(positions(out_d, PACKING, 0), PACKING, 0)
    len_h = packed_length(positions(out_h, PACKING, 1), PACKING, 1)
    len_w = packed_length(positions(out_w, PACKING, 2), PACKING, 2)
    stride_d, stride_h, stride_w, stride_n = packed_strides(len_d, len_h, len_w, PACKING)

    # Columns are counted from an aligned input, so that loads are whole vectors however wide the border is.
    LEAD: tl.constexpr = (SIDE_W.lead + BLOCKS.align - 1) // BLOCKS.align * BLOCKS.align
    NUM_C: tl.constexpr = (PACKING.channels + PACK_C - 1) // PACK_C
    num_w = tl.cdiv(len_w + (LEAD - SIDE_W.lead), PACK_W)
    num_h = tl.cdiv(len_h, PACK_R)
    offs = tl.arange(0, PACK_R * PACK_W)
    col = pid % num_w * PACK_W - LEAD + offs % PACK_W  # of the input
    pid = pid // num_w
    channel = pid % NUM_C * PACK_C + tl.arange(0, PACK_C)
    pid = pid // NUM_C
    h = pid % divisor(num_h) * PACK_R + offs // PACK_W
    pid = pid // divisor(num_h)
    d = pid % divisor(len_d)
    pid = pid // divisor(len_d)
    sample = pid % n
    group = pid // n

    x_d = d - SIDE_D.lead
    x_h = h - SIDE_H.lead
    plane = in_w.to(tl.int64) * in_h * in_d
    stride_xc = 1 if CHANNELS_LAST else plane
    stride_xs: tl.constexpr = GROUPS * C_IN if CHANNELS_LAST else 1
    x_ptr += sample * (GROUPS * C_IN) * plane + group * C_IN * stride_xc
    x_ptrs = x_ptr + ((x_d * in_h + x_h) * in_w.to(tl.int64) + col) * stride_xs
    ok = (x_d >= 0) & (x_d < in_d) & (x_h >= 0) & (x_h < in_h) & (col >= 0) & (col < in_w)
    if CHANNELS_LAST:
        x = tl.load(
            x_ptrs[:, None] + channel[None, :], mask=ok[:, None] & (channel < C_IN)[None, :], other=0.0
        )
    else:
        x = tl.load(
            x_ptrs[None, :] + channel[:, None] * plane,
            mask=ok[None, :] & (channel < C_IN)[:, None],
            other=0.0,
        )
        x = tl.trans(x)
    if ROUNDED:
        x = round_tf32(x)
    w = col + SIDE_W.lead
    ok = (h < len_h) & (w >= 0) & (w < len_w)
    y_ptrs = y_ptr + (group.to(tl.int64) * n + sample) * stride_n + d * stride_d + h * stride_h + w * stride_w
    y_ptrs = y_ptrs[:, None] + channel[None, :]
    ok = ok[:, None] & (channel < PACKING.channels)[None, :]
    tl.store(y_ptrs, x, mask=ok)


def repack_signature(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Signature:
    """Return the launch that packs the input of a problem; its w_ptr and b_ptr are None.

    `rounded` rounds float32 to the nearest TF32.
    """
    item, first = ITEM_BYTES[problem.dtype], problem.layout == "channels_first"
    len_d, len_h, len_w = packed_lengths(problem, packing, span)
    # Channels of 128 bytes and whole rows were within 1.5 % of the best of some fifty blocks on large inputs, and within 5 %
    # on small ones, which need smaller blocks to have enough programs (H200, docs/experiments.md).
    room = triton.next_power_of_2(packed_elements(problem, packing, span) // 512)
    room = min(8192 if first else 4096, max(1024, room))
    block_c = min(128 // item, triton.next_power_of_2(packing.channels))
    block_w = min(256 if first else 32, room // block_c, max(8, triton.next_power_of_2(2 * len_w + 1) // 2))
    block_r = min(triton.next_power_of_2(len_h), room // (block_c * block_w))
    align = 16 // item if first else 1
    lead = -(-packing.width.lead // align) * align
    constexprs: dict[str, Any] = {
        "PROBLEM": problem_constants(problem, axes(problem)),
        "PACKING": packing.spanning(span),
        "BLOCKS": Blocks(rows=block_r, columns=block_w, channels=block_c, align=align),
        "ROUNDED": int(rounded),
    }
    programs = -(-(len_w + lead - packing.width.lead) // block_w) * -(-packing.channels // block_c)
    programs *= -(-len_h // block_r) * len_d * problem.n * problem.groups
    arguments = convolution_arguments(problem).without("w_ptr", "b_ptr")
    return arguments.signature(repack, constexprs, (programs, 1, 1), num_warps=4, num_stages=1)
