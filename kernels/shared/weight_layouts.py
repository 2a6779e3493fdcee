"""What several families' weight layouts share: the coordinates of a weight, and which tap of the kernel a window's tap is."""

from collections.abc import Mapping, Sequence

from tunedb.problem import Problem
from tunedb.weights.layout import Affine, Coordinate, Layout, Level, affine

__all__ = ["ALIGNMENT", "TAPS", "forward_tap", "residue_tap", "weight_layout"]

ALIGNMENT = 16  # elements: rows start on 32 bytes or more, so that copies can be 128 bits wide
TAPS = ("k_d", "k_h", "k_w")


def weight_layout(
    problem: Problem,
    *levels: Level,
    rounded: bool = False,
    at: Mapping[str, Affine] | None = None,
    bounds: Mapping[str, int] | None = None,
) -> Layout:
    """Return the layout of a problem's weight, forward or transposed, grouped or not, of one to three dimensions.

    Its coordinates are group, c_out and c_in of a group, and the taps k_d, k_h and k_w. Each is the index of the axis of
    that name, or what `at` says; 0 where neither is there. `bounds`: axes whose indices beyond a bound give zeros.
    """
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    # Torch's weight is [c_out, c_in of a group, taps], or for a transposed operation [c_in, c_out of a group, taps].
    out_dim, in_dim = (1, 0) if problem.transposed else (0, 1)
    axes = {axis.name for one in levels for axis in one.axes}

    def coordinate(name: str, extent: int, dim: int | None, times: int = 1) -> Coordinate:
        own = affine(**{name: 1}) if name in axes else affine()
        return Coordinate((at or {}).get(name, own), extent, dim, times)

    coordinates = [
        coordinate("group", problem.groups, 0, c_in if problem.transposed else c_out),
        coordinate("c_out", c_out, out_dim),
        coordinate("c_in", c_in, in_dim),
    ]
    missing = 3 - problem.rank  # spatial dimensions that the operation lacks: the kernel has one tap there
    for axis, (name, extent) in enumerate(zip(TAPS, problem.kernel, strict=True)):
        coordinates.append(coordinate(name, extent, None if axis < missing else 2 + axis - missing))
    coordinates += [Coordinate(affine(**{name: 1}), extent) for name, extent in (bounds or {}).items()]
    return Layout(problem.weight_shape, levels, tuple(coordinates), rounded)


def forward_tap(problem: Problem, axis: int, **steps: int) -> Affine:
    """Return the kernel's tap at a tap of the forward convolution that a problem equals.

    A transposed problem of stride 1 has its taps reversed. The forward tap is the sum of the steps name=step.
    """
    if not problem.transposed:
        return affine(**steps)
    return affine(problem.kernel[axis] - 1, **{name: -step for name, step in steps.items()})


def residue_tap(
    problem: Problem,
    axis: int,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    q: str,
    e: Mapping[str, int],
) -> Affine:
    """Return the kernel's tap that output residue q of a strided transposed problem meets at tap e of its window.

    For depth, height and width `residues` are (live, gap, first) and `sides` (taps of the window, ..., lead), as Residues
    and Side of packing.py. Output residue r = first + gap * q meets tap k of the kernel at tap
    e = (r + padding - k * dilation) / stride + lead, where that is exact: k follows from it. An axis of stride 1 has its taps
    reversed. `q` names the axis of q; e is the sum of the steps name: step of `e`.
    """
    stride = problem.stride[axis]
    if stride == 1:
        return affine(problem.kernel[axis] - 1, **{name: -step for name, step in e.items()})
    (_, gap, first), lead = residues[axis], sides[axis][-1]
    start = first + problem.padding[axis] + lead * stride
    return affine(
        start, problem.dilation[axis], **{q: gap, **{name: -stride * step for name, step in e.items()}}
    )
