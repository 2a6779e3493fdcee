"""Single PTX instructions that Triton has no function for, and what the interpreter computes in their place."""

import os

import triton
import triton.language as tl

__all__ = ["INTERPRETED", "divisible_range"]

# Triton's interpreter cannot run PTX. It is switched on before kernels are imported, so this is a constant.
INTERPRETED: tl.constexpr = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")


@triton.jit
def divisible_range(SIZE: tl.constexpr):
    """Return 0 … SIZE-1 as tl.arange does, but with a range that LLVM does not know, to be divided by constants.

    Where LLVM knows that a dividend is small, it divides in packed 16-bit arithmetic. The ptxas 12.9 of Triton's wheels
    miscompiles that for sm_90 (triton-lang/triton issue 11581): with 3 input channels a result was wrong by half on an H200.
    LLVM cannot look into the move instruction here, so it knows no range.
    """
    offs = tl.arange(0, SIZE)
    if not INTERPRETED:
        offs = tl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [offs], dtype=tl.int32, is_pure=True, pack=1
        )
    return offs
