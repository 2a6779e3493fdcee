"""In what precision tl.dot multiplies: the choices, and how an operand is made ready for one."""

import triton
import triton.language as tl
from tunedb.kernels.shared.ptx import INTERPRETED

from tunedb.problem import Problem

__all__ = ["accumulator", "dots", "operand", "product", "round_tf32", "worth_trying"]

# Operations: the largest problem of many channels that torch computed exactly on an H200 had half as many.
SMALL = 1 << 33


def dots(problem: Problem) -> tuple[str, ...]:
    """Return the input precisions of tl.dot that a problem permits."""
    if problem.dtype != "float32":
        return ("ieee",)
    return ("tf32", "tf32x3", "ieee") if problem.precision == "tf32" else ("ieee", "tf32x3")


def worth_trying(problem: Problem) -> tuple[str, ...]:
    """Return those that a search should try.

    Where TF32 is permitted torch leaves tensor cores aside only for problems that are small or of few channels: there
    its error may have to be matched. Many channels are too slow without tensor cores.
    """
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    permitted = dots(problem)
    if permitted[0] != "tf32" or c_in * c_out <= 32 * 64:
        return permitted
    return permitted[:2] if problem.flops <= SMALL else permitted[:1]


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
def operand(x, DOT: tl.constexpr):
    """Return an operand of tl.dot as DOT wants it: rounded where the matrix unit would truncate."""
    if INTERPRETED:
        x = x.to(tl.float32)  # the interpreter takes the bits of bfloat16 for integers
    if DOT == "tf32":
        x = round_tf32(x)
    return x


@triton.jit
def accumulator(POSITIONS: tl.constexpr, CHANNELS: tl.constexpr, SWAP: tl.constexpr):
    """Return zeros for `product` to add to: [positions, channels] or with SWAP the other way round."""
    if SWAP:
        acc = tl.zeros((CHANNELS, POSITIONS), dtype=tl.float32)
    else:
        acc = tl.zeros((POSITIONS, CHANNELS), dtype=tl.float32)
    return acc


@triton.jit
def product(x, weight, acc, SWAP: tl.constexpr, DOT: tl.constexpr):
    """Add a tile's product to an accumulator, [positions, channels] or with SWAP the other way round.

    The weights were rounded when they were packed.
    """
    weight = operand(weight, "ieee")
    if SWAP:
        acc = tl.dot(weight, x, acc, input_precision=DOT)
    else:
        acc = tl.dot(x, weight, acc, input_precision=DOT)
    return acc
