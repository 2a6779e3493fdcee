"""The naive convolution's code for the GPU."""

import triton
import triton.language as tl

__all__ = ["naive"]


@triton.jit
def source(o, k, length, TRANSPOSED: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr, dilation: tl.constexpr):  # fmt: skip
    """Return which input a tap reads for an output of one axis, and whether there is one."""
    if TRANSPOSED:
        far = o + padding - k * dilation
        i = far // stride
        ok = (far >= 0) & (far % stride == 0) & (i < length)
    else:
        i = o * stride - padding + k * dilation
        ok = (i >= 0) & (i < length)
    return i, ok


@triton.jit
def naive(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    LAYER: tl.constexpr, CONFIG: tl.constexpr,
):  # fmt: skip
    """Inputs x and outputs y are dense, in the layer's layout; the weight w is [taps, c_in of a group, c_out]."""
    TAPS: tl.constexpr = LAYER.kernel[0] * LAYER.kernel[1] * LAYER.kernel[2]
    BLOCK: tl.constexpr = CONFIG.BLOCK
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    plane = out_d * out_h * out_w
    if LAYER.channels_last:
        c_out = lane % LAYER.c_out
        at = lane // LAYER.c_out % plane
    else:
        c_out = lane // plane % LAYER.c_out
        at = lane % plane
    sample = lane // LAYER.c_out // plane
    o_d, o_h, o_w = at // out_w // out_h, at // out_w % out_h, at % out_w
    first_c = c_out // (LAYER.c_out // LAYER.groups) * LAYER.c_in
    # Elements between neighbours: in channels_last the channels lie inside.
    stride_xc = 1 if LAYER.channels_last else in_d * in_h * in_w
    STRIDE_XS: tl.constexpr = LAYER.groups * LAYER.c_in if LAYER.channels_last else 1
    x_ptrs = x_ptr + sample * (LAYER.groups * LAYER.c_in) * in_d * in_h * in_w + first_c * stride_xc
    w_ptrs = w_ptr + c_out
    there = sample < n

    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    if LAYER.bias:
        acc += tl.load(b_ptr + c_out).to(tl.float32)
    for step in range(TAPS * LAYER.c_in):
        if CONFIG.LOOP == "taps":
            tap, c = step // LAYER.c_in, step % LAYER.c_in
        else:
            tap, c = step % TAPS, step // TAPS
        k_d = tap // (LAYER.kernel[1] * LAYER.kernel[2])
        k_h = tap // LAYER.kernel[2] % LAYER.kernel[1]
        k_w = tap % LAYER.kernel[2]
        i_d, ok_d = source(
            o_d, k_d, in_d, LAYER.transposed, LAYER.stride[0], LAYER.padding[0], LAYER.dilation[0]
        )
        i_h, ok_h = source(
            o_h, k_h, in_h, LAYER.transposed, LAYER.stride[1], LAYER.padding[1], LAYER.dilation[1]
        )
        i_w, ok_w = source(
            o_w, k_w, in_w, LAYER.transposed, LAYER.stride[2], LAYER.padding[2], LAYER.dilation[2]
        )
        offset = ((i_d * in_h + i_h) * in_w + i_w) * STRIDE_XS + c * stride_xc
        x = tl.load(x_ptrs + offset, mask=there & ok_d & ok_h & ok_w, other=0.0)
        w = tl.load(w_ptrs + (tap * LAYER.c_in + c) * LAYER.c_out)
        acc += x.to(tl.float32) * w.to(tl.float32)
    tl.store(y_ptr + lane, acc.to(y_ptr.dtype.element_ty), mask=there)
