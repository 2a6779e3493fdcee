"""Rounding of float32 to TF32, to nearest: the matrix units only truncate, a bias that adds up."""

import os

import triton
import triton.language as tl

__all__ = ["round_tf32"]

# Triton's interpreter runs no PTX, and is chosen before a kernel is decorated.
INTERPRETED: tl.constexpr = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")


@triton.jit
def round_tf32(x):
    """Return x rounded to TF32's 10 mantissa bits, ties away from zero; NaN stays NaN and infinity infinity."""
    if INTERPRETED:
        bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)  # noqa: PLR0124 (NaN differs from itself)
    else:
        x = tl.inline_asm_elementwise(
            "cvt.rna.tf32.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return x
