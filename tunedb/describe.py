"""Problems and tables in words, for people; and a problem as JSON has it."""

from collections.abc import Sequence
from typing import Any

from tunedb.arguments import AXIS_SIZES
from tunedb.problem import Problem

__all__ = ["as_data", "counted", "describe", "micros", "table", "versions"]


def describe(problem: Problem) -> str:
    """Return a problem in a line, in torch's shapes and words; what has its usual value is left out."""

    def shape(sizes: tuple[int, ...]) -> str:
        return "x".join(str(size) for size in sizes)

    precision = f" {problem.precision}" if problem.dtype == "float32" else ""
    parts = [
        f"{problem.op} {problem.dtype}{precision} {problem.layout} x {shape(problem.input_shape)} w {shape(problem.weight_shape)}"
    ]
    lead = 3 - problem.rank
    for name, usual in AXIS_SIZES.items():
        sizes = getattr(problem, name)[lead:]
        if set(sizes) != {usual}:
            parts.append(f"{name} {shape(sizes)}")
    if problem.groups > 1:
        parts.append(f"groups {problem.groups}")
    return " ".join([*parts, *(["bias"] if problem.bias else [])])


def micros(us: float | None) -> str:
    """Return a time: three digits below 10 us, a tenth below 1000 us, milliseconds from there; "-" for none."""
    if us is None:
        return "-"
    if us >= 1000:
        return f"{us / 1000:.2f} ms"
    return f"{us:.1f} us" if us >= 10 else f"{us:.3g} us"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 problem", "2 problems"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def as_data(problem: Problem) -> dict[str, Any]:
    """Return a problem as every JSON of tunedb has it: what people ask for first, in words, and with each size."""
    return {
        "op": problem.op,
        "dtype": problem.dtype,
        "precision": problem.precision,
        "layout": problem.layout,
        "shapes": describe(problem),
        "problem": problem._asdict(),
    }


def versions(triton: str, torch: str, cudnn: str, driver: str) -> str:
    """Return the versions that a time depends on in words; one that is not known is left out: "" if none is."""
    named = {"triton": triton, "torch": torch, "cudnn": cudnn, "driver": driver}
    return ", ".join(f"{name} {version}" for name, version in named.items() if version)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns as wide as their longest cell; numbers stand to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    numeric = [
        all(not cell or cell[0].isdigit() for cell in column) for column in zip(*rows, strict=True)
    ] or [False] * len(heads)

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join(line(cells) for cells in [heads, *rows])
