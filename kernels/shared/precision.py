"""The input precisions of tl.dot: which ones a problem permits, and how operands are rounded for each."""

import triton
import triton.language as tl
from tunedb.kernels.shared.ptx import INTERPRETED

from tunedb.problem import Problem

__all__ = ["accumulator", "dots", "operand", "product", "round_tf32", "worth_trying"]

# Operations of a problem with many channels: above it three products of TF32 are too slow.
SMALL = 1 << 33


def dots(problem: Problem) -> tuple[str, ...]:
    """Return the input precisions of tl.dot that a problem permits."""
    if problem.dtype != "float32":
        return ("ieee",)
    return ("tf32", "tf32x3", "ieee") if problem.precision == "tf32" else ("ieee", "tf32x3")


def worth_trying(problem: Problem) -> tuple[str, ...]:
    """Return the permitted precisions without those that are too slow: "ieee" for many channels where TF32 is permitted.

    A search tries fewer (searched_precisions): it knows the error contract. This part is in the hash of every record.
    """
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    permitted = dots(problem)
    if permitted[0] != "tf32" or c_in * c_out <= 32 * 64:
        return permitted
    return permitted[:2] if problem.flops <= SMALL else permitted[:1]


@triton.jit
def round_tf32(x):
    """Return x rounded to TF32's 10 mantissa bits, ties away from zero; NaN stays NaN and infinity infinity.

    Without it the matrix unit truncates: all errors of a sum then have one sign, and add up.
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
def operand(x, DOT: tl.constexpr):
    """Return an operand of tl.dot, rounded to TF32 where DOT is "tf32": the matrix unit itself would truncate it."""
    if INTERPRETED:
        x = x.to(tl.float32)  # the interpreter would multiply bfloat16 by its bits, as integers
    if DOT == "tf32":
        x = round_tf32(x)
    return x


@triton.jit
def accumulator(POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, SWAP: tl.constexpr):
    """Return the zeros that `product` adds to: [POSITIONS, CHANNELS], or [CHANNELS, POSITIONS] with SWAP."""
    if SWAP:
        acc = tl.zeros((CHANNELS, POSITIONS), dtype=tl.float32)
    else:
        acc = tl.zeros((POSITIONS, CHANNELS), dtype=tl.float32)
    return acc


@triton.jit
def product(x, weight, acc, SWAP: tl.constexpr, DOT: tl.constexpr):
    """Return acc + x * weight, [positions, channels], or with SWAP acc + weight * x, [channels, positions].

    x has gone through `operand`; the weights were rounded when they were packed.
    """
    weight = operand(weight, "ieee")
    if SWAP:
        acc = tl.dot(weight, x, acc, input_precision=DOT)
    else:
        acc = tl.dot(x, weight, acc, input_precision=DOT)
    return acc
