"""The pass that turns a tensor from one layout to another and adds a bias."""

from typing import NamedTuple

import triton
import triton.language as tl


class Pass(NamedTuple):
    """What a pass does; a compile-time constant."""

    channels: int
    from_last: int  # whether what is read is channels_last
    to_last: int  # whether what is written is
    of_output: int  # whether the positions are the output's, else the input's
    even: int  # divides the number of positions


@triton.jit
def relay(
    x_ptr, w_ptr, b_ptr, y_ptr,  # noqa: ARG001 (every launch passes four pointers)
    n, in_d, in_h, in_w, out_d, out_h, out_w,  # noqa: ARG001
    PASS: tl.constexpr, CONFIG: tl.constexpr, LARGE: tl.constexpr,
):  # fmt: skip
    """Write x, [n, channels, positions] in either layout, into y in either layout, plus the bias where there is one.

    LARGE: whether a sample has elements beyond the reach of 32 bits.
    """
    C: tl.constexpr = PASS.channels
    EVEN: tl.constexpr = PASS.even
    BLOCK_C: tl.constexpr = CONFIG.BLOCK_C
    BLOCK_S: tl.constexpr = CONFIG.BLOCK_S
    plane = out_d * out_h * out_w if PASS.of_output else in_d * in_h * in_w
    plane = plane // EVEN * EVEN  # so that the compiler knows: accesses are then whole vectors
    num_s = tl.cdiv(plane, BLOCK_S)
    NUM_C: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    pid = tl.program_id(0)
    s = pid % num_s * BLOCK_S + tl.arange(0, BLOCK_S)
    c = pid // num_s % NUM_C * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = (pid // num_s // NUM_C).to(tl.int64) * C
    x_ptr += sample * plane
    y_ptr += sample * plane
    ok_s, ok_c = s < plane, c < C
    if LARGE:
        s, c = s.to(tl.int64), c.to(tl.int64)

    if PASS.from_last:
        x = tl.load(x_ptr + s[:, None] * C + c[None, :], mask=ok_s[:, None] & ok_c[None, :], other=0.0)
    else:
        x = tl.load(x_ptr + c[:, None] * plane + s[None, :], mask=ok_c[:, None] & ok_s[None, :], other=0.0)
        x = tl.trans(x)  # [BLOCK_S, BLOCK_C]
    if b_ptr is not None:
        bias = tl.load(b_ptr + c, mask=ok_c, other=0.0)
        x = (x.to(tl.float32) + bias.to(tl.float32)[None, :]).to(x.dtype)
    if PASS.to_last:
        tl.store(y_ptr + s[:, None] * C + c[None, :], x, mask=ok_s[:, None] & ok_c[None, :])
    else:
        tl.store(y_ptr + c[:, None] * plane + s[None, :], tl.trans(x), mask=ok_c[:, None] & ok_s[None, :])
