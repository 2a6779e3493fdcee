"""One pass over the input into the layout that a windowed matrix product wants: padded, channels inside, rounded.

The packed input is [groups, n, outer, middle, row]: the three spatial axes in the order of `Packing.order`, each as
long as the windows reach, with the zeros of the border written out; a row is its innermost axis with the channels of a
group, padded to a multiple of the vector, so that the taps of a window lie side by side and every window starts
aligned.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl
from tunedb.kernels.precision import round_tf32
from tunedb.kernels.tiles import divisor

from tunedb.kernel import Signature
from tunedb.launch import convolution_arguments
from tunedb.problem import ITEM_BYTES, Problem

__all__ = [
    "Packing",
    "Side",
    "packed_elements",
    "packed_length",
    "packed_lengths",
    "packed_strides",
    "packing_of",
    "repack_signature",
    "row_elements",
    "side_length",
]

ROW_ALIGN = 16  # elements: a row starts where any vector load may


class Side(NamedTuple):
    """One spatial axis of the packed input: window tap t of output o lies at o * step + t * reach."""

    taps: int
    step: int
    reach: int
    lead: int  # zeros before the first input; negative where inputs before the first window are left out


class Packing(NamedTuple):
    """What the packed layout depends on, sizes apart. Sides are depth, height, width."""

    depth: Side
    height: Side
    width: Side
    inner: int  # the axis whose taps lie side by side: 0 depth, 1 height, 2 width
    channels: int  # of a group, padded


def packing_of(problem: Problem) -> Packing | None:
    """Return the packed layout of a problem, or None where its windows are not of one shape (strided transposed)."""
    if problem.transposed and max(problem.stride) > 1:
        return None
    sides = []
    for k, s, p, d in zip(problem.kernel, problem.stride, problem.padding, problem.dilation, strict=True):
        sides.append(Side(k, s, d, (k - 1) * d - p if problem.transposed else p))
    # The longest run of neighbouring taps: width unless another axis has more.
    runs = [side.taps if side.reach == 1 else 1 for side in sides]
    inner = max((2, 1, 0), key=lambda axis: runs[axis])
    c_in = problem.c_in // problem.groups
    vector = 4 if c_in <= 4 else 16 // ITEM_BYTES[problem.dtype]
    depth, height, width = sides
    return Packing(depth, height, width, inner, -(-c_in // vector) * vector)


def side_length(side: Side, out: int) -> int:
    """Return the packed length of an axis: from the first tap of the first window to the last of the last."""
    return (out - 1) * side.step + (side.taps - 1) * side.reach + 1


def row_elements(packing: Packing, length: int) -> int:
    """Return the elements of a packed row whose axis has that length."""
    return -(-length * packing.channels // ROW_ALIGN) * ROW_ALIGN


def packed_lengths(problem: Problem, packing: Packing, span: int) -> list[int]:
    """Return the packed lengths of depth, height and width, for whole spans of outputs along the inner axis."""
    outs = list(problem.out_extents)
    outs[packing.inner] = -(-outs[packing.inner] // span) * span
    return [side_length(side, out) for side, out in zip(packing[:3], outs, strict=True)]


def packed_elements(problem: Problem, packing: Packing, span: int) -> int:
    """Return the elements of the whole packed input."""
    total = problem.groups * problem.n
    for axis, length in enumerate(packed_lengths(problem, packing, span)):
        total *= row_elements(packing, length) if axis == packing.inner else length
    return total


@triton.jit
def repack(
    x_ptr, w_ptr: tl.constexpr, b_ptr: tl.constexpr, y_ptr,  # noqa: ARG001 (every launch passes four pointers)
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: tl.constexpr, GROUPS: tl.constexpr, SIDE_D: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr,
    INNER: tl.constexpr, CHANNELS: tl.constexpr, SPAN: tl.constexpr, EVEN_IN: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, ROUND: tl.constexpr, ALIGN: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """x: [n, GROUPS * C_IN, in_d, in_h, in_w] in either layout; y: packed, every element that is ever read written."""
    in_w = in_w // EVEN_IN * EVEN_IN
    len_d = packed_length(tl.cdiv(out_d, SPAN) * SPAN if INNER == 0 else out_d, SIDE_D)
    len_h = packed_length(tl.cdiv(out_h, SPAN) * SPAN if INNER == 1 else out_h, SIDE_H)
    len_w = packed_length(tl.cdiv(out_w, SPAN) * SPAN if INNER == 2 else out_w, SIDE_W)
    stride_d, stride_h, stride_w, stride_n = packed_strides(len_d, len_h, len_w, INNER, CHANNELS)

    # Columns are counted from an aligned input, so that loads stay whole vectors whatever the border.
    LEAD: tl.constexpr = (SIDE_W.lead + ALIGN - 1) // ALIGN * ALIGN
    NUM_C: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    num_w = tl.cdiv(len_w + (LEAD - SIDE_W.lead), BLOCK_W)
    num_h = tl.cdiv(len_h, BLOCK_R)
    pid = tl.program_id(0)
    offs = tl.arange(0, BLOCK_R * BLOCK_W)
    col = pid % num_w * BLOCK_W - LEAD + offs % BLOCK_W  # of the input
    pid = pid // num_w
    channel = pid % NUM_C * BLOCK_C + tl.arange(0, BLOCK_C)
    pid = pid // NUM_C
    h = pid % divisor(num_h) * BLOCK_R + offs // BLOCK_W
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
    if ROUND:
        x = round_tf32(x)
    w = col + SIDE_W.lead
    ok = (h < len_h) & (w >= 0) & (w < len_w)
    y_ptrs = y_ptr + (group.to(tl.int64) * n + sample) * stride_n + d * stride_d + h * stride_h + w * stride_w
    tl.store(y_ptrs[:, None] + channel[None, :], x, mask=ok[:, None] & (channel < CHANNELS)[None, :])


@triton.jit
def packed_length(out, SIDE: tl.constexpr):
    """The same as side_length, on the device."""
    # An axis that the operation lacks is the constant 1, which has no methods of a tensor.
    return (tl.cast(out, tl.int32) - 1) * SIDE.step + ((SIDE.taps - 1) * SIDE.reach + 1)


@triton.jit
def packed_strides(len_d, len_h, len_w, INNER: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the strides of depth, height, width and sample, in elements; 64 bits beyond a plane."""
    if INNER == 2:
        stride_w = CHANNELS
        stride_h = (len_w * CHANNELS + 15) // 16 * 16
        stride_d = tl.cast(stride_h, tl.int64) * len_h
        stride_n = stride_d * len_d
    elif INNER == 1:
        stride_h = CHANNELS
        stride_w = (len_h * CHANNELS + 15) // 16 * 16
        stride_d = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_d * len_d
    else:
        stride_d = CHANNELS
        stride_w = (len_d * CHANNELS + 15) // 16 * 16
        stride_h = tl.cast(stride_w, tl.int64) * len_w
        stride_n = stride_h * len_h
    return stride_d, stride_h, stride_w, stride_n


def repack_signature(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Signature:
    """Return the launch that packs the input of a problem; its w_ptr and b_ptr are nothing."""
    from math import gcd

    block_c = min(64, triton.next_power_of_2(packing.channels))
    len_d, len_h, len_w = packed_lengths(problem, packing, span)
    # Measured on an H200: long rows of many channels at 94 % of the copy bandwidth, short ones at 76 %.
    block_w = min(256, max(8, triton.next_power_of_2(len_w + 1) // 2))
    room = 16384 if block_w == 256 and block_c >= 32 else 4096
    block_r = min(triton.next_power_of_2(len_h), max(1, room // (block_c * block_w)))
    align = 16 // ITEM_BYTES[problem.dtype] if problem.layout == "channels_first" else 1
    lead = -(-packing.width.lead // align) * align
    constexprs: dict[str, Any] = {
        "C_IN": problem.c_in // problem.groups,
        "GROUPS": problem.groups,
        "SIDE_D": packing.depth,
        "SIDE_H": packing.height,
        "SIDE_W": packing.width,
        "INNER": packing.inner,
        "CHANNELS": packing.channels,
        "SPAN": span,
        "EVEN_IN": gcd(problem.in_w, 16),
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
        "ROUND": int(rounded),
        "ALIGN": align,
        "BLOCK_R": block_r,
        "BLOCK_W": block_w,
        "BLOCK_C": block_c,
    }
    programs = -(-(len_w + lead - packing.width.lead) // block_w) * -(-packing.channels // block_c)
    programs *= -(-len_h // block_r) * len_d * problem.n * problem.groups
    bare = convolution_arguments(problem)
    types = {**bare.types, "w_ptr": "constexpr", "b_ptr": "constexpr"}
    aligned = tuple(name for name in bare.aligned if name not in ("w_ptr", "b_ptr"))
    arguments = bare._replace(
        types=types, aligned=aligned, constexprs={**bare.constexprs, "w_ptr": None, "b_ptr": None}
    )
    return arguments.signature(repack, constexprs, (programs, 1, 1), num_warps=4, num_stages=1)
