"""What Triton has no word for: single PTX instructions, and what the interpreter does in their place."""

import os

import triton
import triton.language as tl

__all__ = ["INTERPRETED", "divisible_range"]

# Triton's interpreter runs no PTX, and is chosen before a kernel is decorated.
INTERPRETED: tl.constexpr = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")


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
