"""From what a person types, `--x 16x32x64x128 --w 32x64x3x3 --stride 5`, to a suite entry."""

import re
from collections.abc import Mapping
from typing import Any

from tunedb.arguments import AXIS_SIZES
from tunedb.errors import ProblemError, printable, quoted
from tunedb.problem import MOST_ON_AN_AXIS, OPS, checked, is_transposed, rank
from tunedb.suite import Entry

__all__ = ["entry_from_shapes"]

_SIZES = re.compile(r"\d+(x\d+)*", re.ASCII)


def entry_from_shapes(
    op: str, x: str, w: str, options: Mapping[str, str], *, groups: int = 1, bias: bool = False
) -> Entry:
    """Return the problem of input and weight shapes in torch's order, as an entry named by its shapes.

    `x` is N x C_in x extents, or C_in x extents for one element without a batch; `w` is C_out x C_in/groups x
    kernel, and for a transposed operation C_in x C_out/groups x kernel. `options` may hold stride, padding,
    output_padding and dilation, one number for every axis or one for each: "5", "2x3".
    Raises ProblemError: where the shapes are malformed or contradict each other.
    """
    if op not in OPS:
        raise ProblemError(f"op must be one of {', '.join(OPS)}, but got {quoted(op)}.")
    axes = rank(op)
    x_sizes, w_sizes = _sizes("x", x), _sizes("w", w)
    if len(x_sizes) == axes + 1:
        x_sizes = (1, *x_sizes)
    for name, sizes, given in (("x", x_sizes, x), ("w", w_sizes, w)):
        if len(sizes) != axes + 2:
            raise ProblemError(
                f"{name} of a {op} must have {axes + 2} sizes, as in {'x'.join('8' * (axes + 2))}, but got {printable(given, 80)}."
            )
    n, c_in, *extents = x_sizes
    first, second, *kernel = w_sizes
    if groups < 1:
        raise ProblemError(f"groups must be at least 1, but got {quoted(groups)}.")
    if is_transposed(op):
        rule, channels, c_out = "the first size of w", first, second * groups
    else:
        rule, channels, c_out = "the second size of w times groups", second * groups, first
    if channels != c_in:
        raise ProblemError(
            f"{rule} must be the channels of x, but got x {printable(x, 80)}, w {printable(w, 80)}, groups {quoted(groups)}."
        )
    lists: dict[str, Any] = {
        name: _per_axis(name, options.get(name, str(default)), axes) for name, default in AXIS_SIZES.items()
    }
    entry = Entry(
        id=f"{op} {x} {w}", line=0, op=op, n=n, c_in=c_in, spatial_in=tuple(extents), c_out=c_out,
        kernel=tuple(kernel), groups=groups, bias=bias, **lists,
    )  # fmt: skip
    checked(entry.problem())
    return entry


def _sizes(name: str, text: str) -> tuple[int, ...]:
    if not _SIZES.fullmatch(text):
        raise ProblemError(f"{name} must be sizes joined by x, as in 16x32x64x128, but got {quoted(text)}.")
    sizes = text.split("x")
    for size in sizes:
        # Before it is a number, for which Python takes quadratic time.
        if len(size.lstrip("0")) > len(str(MOST_ON_AN_AXIS)):
            raise ProblemError(
                f"{name} must have sizes of at most {MOST_ON_AN_AXIS}, but got {quoted(size)}."
            )
    return tuple(map(int, sizes))


def _per_axis(name: str, text: str, axes: int) -> tuple[int, ...]:
    sizes = _sizes(name, text)
    if len(sizes) not in {1, axes}:
        raise ProblemError(
            f"{name} must be 1 number or {axes}, as in {'x'.join('2' * axes)}, but got {quoted(text)}."
        )
    return sizes if len(sizes) == axes else sizes * axes
