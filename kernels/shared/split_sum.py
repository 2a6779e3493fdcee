"""Sums that are split along K: into how many parts, and the second launch, which adds them.

    y[m, n] = bias[n] + part 0[m, n] + part 1[m, n] + ...      part p: the products of one range of K, by a program of its own

The parts are added in this order always, so every run gives the same bits; atomic adds would not.
"""

from math import gcd

import triton
import triton.language as tl

from tunedb.kernel import Signature
from tunedb.launch import convolution_arguments
from tunedb.problem import Problem

__all__ = ["SPLITS", "split_sum_signature", "splits"]

SPLITS = (1, 2, 4, 8, 16)
BLOCK = 512  # outputs that a program of the second launch adds
TILE = 64  # positions, channels and K of a typical tile, by which `splits` counts programs


@triton.jit
def split_sum(
    x_ptr, w_ptr: tl.constexpr, b_ptr, y_ptr,  # noqa: ARG001 (every launch passes four pointers)
    n, in_d, in_h, in_w, out_d, out_h, out_w,  # noqa: ARG001 (and all extents)
    CHANNELS: tl.constexpr, HAS_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    EVEN: tl.constexpr, SPLIT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write to y, [n, CHANNELS, out_d, out_h, out_w], the bias and the sum of x: SPLIT float32 tensors in the layout of y."""
    plane = out_d * out_h * out_w
    total = n * CHANNELS * plane // EVEN * EVEN
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = offs < total
    acc = tl.load(x_ptr + offs, mask=ok, other=0.0)
    for part in tl.static_range(1, SPLIT):
        acc += tl.load(x_ptr + part * total + offs, mask=ok, other=0.0)
    if HAS_BIAS:
        channel = offs % CHANNELS if CHANNELS_LAST else offs // plane % CHANNELS
        acc += tl.load(b_ptr + channel, mask=ok, other=0.0).to(tl.float32)
    tl.store(y_ptr + offs, acc.to(y_ptr.dtype.element_ty), mask=ok)


def splits(problem: Problem, programs: int, k: int) -> tuple[int, ...]:
    """Return into how many parts it may pay to split sums of `k` products, with at most `programs` programs in all.

    A problem of few outputs and long sums has few programs, which leave most of a GPU idle; with SPLIT it has more.
    """
    tiles = max(1, problem.outputs // (TILE * TILE))
    return tuple(parts for parts in SPLITS if parts == 1 or (tiles * parts <= programs and k >= TILE * parts))


def split_sum_signature(problem: Problem, split: int) -> Signature:
    """Return the launch that adds the bias and `split` parts, float32 tensors in the output's layout; w_ptr is None."""
    bare = convolution_arguments(problem).without("w_ptr")
    arguments = bare._replace(types={**bare.types, "x_ptr": "*fp32"})
    constexprs = {
        "CHANNELS": problem.c_out,
        "HAS_BIAS": problem.bias,
        "CHANNELS_LAST": int(problem.layout == "channels_last"),
        "EVEN": gcd(problem.outputs, 16),
        "SPLIT": split,
        "BLOCK": BLOCK,
    }
    return arguments.signature(
        split_sum, constexprs, (-(-problem.outputs // BLOCK), 1, 1), num_warps=4, num_stages=1
    )
