"""The kernel that packs a weight in any layout: what differs from layout to layout is in the table (table.py).

Imported when a weight is first packed on a GPU: it needs Triton.
"""

import triton
import triton.language as tl

from tunedb.weights import table

__all__ = ["BLOCK", "pack"]

BLOCK = 1024  # packed elements of a program
COORDINATE, TERM = tl.constexpr(table.COORDINATE), tl.constexpr(table.TERM)  # numbers of a row


@triton.jit
def quotient(n, row_ptr):
    """Return n // divisor of non-negative n, the divisor given by three numbers (table.division)."""
    return ((n.to(tl.int64) * tl.load(row_ptr + 1)) >> tl.load(row_ptr + 2)).to(tl.int32)


@triton.jit(
    # One compilation for all weights: no value of an argument is compiled in.
    do_not_specialize=(
        "coordinates", "elements", "stride_0", "stride_1", "stride_2", "stride_3", "stride_4",
    ),
    do_not_specialize_on_alignment=("weight_ptr", "packed_ptr", "table_ptr"),
)  # fmt: skip
def pack(
    weight_ptr, packed_ptr, table_ptr, coordinates, elements,
    stride_0, stride_1, stride_2, stride_3, stride_4,
    ROUNDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write `elements` packed elements: each is an element of the weight, of the strides given, or zero.

    Elements are integers of their size, so that every bit of them stays; ROUNDED takes them for float32 and rounds them to
    the nearest TF32.
    """
    flat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = flat < elements
    source = tl.zeros((BLOCK,), dtype=tl.int64)
    row_ptr = table_ptr
    for _ in range(coordinates):
        coordinate_ptr = row_ptr
        value = tl.zeros((BLOCK,), dtype=tl.int32) + tl.load(coordinate_ptr).to(tl.int32)
        row_ptr += COORDINATE
        for _ in range(tl.load(coordinate_ptr + 1).to(tl.int32)):
            index = flat - quotient(flat, row_ptr) * tl.load(row_ptr).to(tl.int32)  # % around
            index = quotient(index, row_ptr + 3)  # // unit
            index -= quotient(index, row_ptr + 6) * tl.load(row_ptr + 6).to(tl.int32)  # % size
            value += index * tl.load(row_ptr + 9).to(tl.int32)
            row_ptr += TERM
        whole = quotient(tl.maximum(value, 0), coordinate_ptr + 2)
        exact = whole * tl.load(coordinate_ptr + 2).to(tl.int32) == value
        inside = inside & exact & (value >= 0) & (whole < tl.load(coordinate_ptr + 5).to(tl.int32))
        along = tl.load(coordinate_ptr + 6) * stride_0 + tl.load(coordinate_ptr + 7) * stride_1
        along += tl.load(coordinate_ptr + 8) * stride_2 + tl.load(coordinate_ptr + 9) * stride_3
        along += tl.load(coordinate_ptr + 10) * stride_4
        source += whole.to(tl.int64) * along
    bits = tl.load(weight_ptr + source, mask=inside, other=0)
    if ROUNDED:
        # Ties go away from zero; what is not finite has all bits of the exponent, and stays.
        finite = (bits & 0x7F800000) != 0x7F800000
        bits = tl.where(finite, (bits + 0x1000) & -0x2000, bits)
    tl.store(packed_ptr + flat, bits, mask=flat < elements)
