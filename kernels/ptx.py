"""What Triton has no word for: single PTX instructions, and what the interpreter does in their place."""

import os

import triton
import triton.language as tl

__all__ = ["divisible_range", "operand", "round_tf32"]

# Triton's interpreter runs no PTX, and is chosen before a kernel is decorated.
INTERPRETED: tl.constexpr = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")


@triton.jit
def round_tf32(x):
    """Return x rounded to TF32's 10 mantissa bits, ties away from zero; NaN stays NaN and infinity infinity.

    The matrix units only truncate, a bias that adds up.
    """
    if INTERPRETED:
        bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)  # noqa: PLR0124 (NaN differs from itself)
    else:
        x = tl.inline_asm_elementwise(
            "cvt.rna.tf32.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return x


@triton.jit
def divisible_range(SIZE: tl.constexpr):
    """Return 0 … SIZE-1, for dividing by constants.

    Where LLVM knows that a dividend is small it divides in packed 16-bit arithmetic, which the ptxas 12.9 of
    Triton's wheels miscompiles for sm_90 (triton-lang/triton issue 11581): with 3 input channels a result was
    wrong by half on an H200. A move that LLVM cannot look into hides the range.
    """
    offs = tl.arange(0, SIZE)
    if not INTERPRETED:
        offs = tl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [offs], dtype=tl.int32, is_pure=True, pack=1
        )
    return offs


@triton.jit
def operand(x, DOT: tl.constexpr):
    """Return an operand of tl.dot as DOT wants it: rounded where the matrix unit would truncate."""
    if INTERPRETED:
        x = x.to(tl.float32)  # the interpreter takes the bits of bfloat16 for integers
    if DOT == "tf32":
        x = round_tf32(x)
    return x
