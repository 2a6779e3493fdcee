"""How packed lays out a weight: in the order of the packed input's windows."""

import math

from tunedb.kernels.shared.packing import Packing
from tunedb.kernels.shared.weight_layouts import ALIGNMENT, TAPS, forward_tap, residue_tap, weight_layout

from tunedb.problem import Problem
from tunedb.weights.layout import Layout, level

__all__ = ["residue_major", "window_major", "window_row"]


def window_row(run: int) -> int:
    """Return the elements that a run of `run` elements takes in a packed weight."""
    return -(-run // ALIGNMENT) * ALIGNMENT


def window_major(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Layout:
    """Return the layout [groups * columns, runs, window_row]: the weights in the order of a packed input's window.

    A window serves `span` outputs along the inner axis. The row of an output has its weights where the output's own window
    lies in the shared one, and zeros elsewhere:

        span 2, 3 taps:   output 0 = |w0|w1|w2| 0|    output 1 = | 0|w0|w1|w2|

    So output s has tap e - s * step at tap e of the window. Rows are (group, output of the span, channel) in channels_last
    and (group, channel, output of the span) in channels_first. The taps of a dilated inner axis are not neighbours: each is
    a run, and span is 1. Transposed problems (of stride 1) have their taps reversed.
    """
    inner, channels = packing.inner, packing.channels
    groups, c_out = problem.groups, problem.c_out // problem.groups
    taps, step = problem.kernel[inner], 1 if problem.transposed else problem.stride[inner]
    outer = [axis for axis in range(3) if axis != inner]
    counts = {TAPS[axis]: problem.kernel[axis] for axis in outer}
    if problem.layout == "channels_last":
        rows = level(groups * span * c_out, group=groups, s=span, c_out=c_out)
    else:
        rows = level(groups * c_out * span, group=groups, c_out=c_out, s=span)
    if problem.dilation[inner] == 1:
        window = (span - 1) * step + taps
        runs = level(math.prod(counts.values()), **counts)
        row = level(window_row(window * channels), e=window, c_in=channels)
    else:
        runs = level(math.prod(problem.kernel), **counts, e=taps)
        row = level(window_row(channels), c_in=channels)
    at = {TAPS[axis]: forward_tap(problem, axis, **{TAPS[axis]: 1}) for axis in outer}
    at[TAPS[inner]] = forward_tap(problem, inner, e=1, s=-step)
    return weight_layout(problem, rows, runs, row, rounded=rounded, at=at)


def residue_major(problem: Problem, packing: Packing, span: int, *, rounded: bool) -> Layout:
    """Return the layout [groups * columns, runs, window_row] for a strided transposed problem: a row for each live residue.

    Which tap of the kernel a residue q meets at tap e of the window is said by residue_tap; all other taps of the window are
    zeros. Rows are (group, channel, q of depth, height and width) in channels_first and (group, q of the three, channel) in
    channels_last; the width's q are made up to `span`. The taps of a dilated width are not neighbours: each is a run.
    """
    groups, c_out = problem.groups, problem.c_out // problem.groups
    (live_d, *_), (live_h, *_), (live_w, *_) = packing.residues
    e_d, e_h, e_w = (side.taps for side in packing.sides)
    columns = groups * c_out * live_d * live_h * span
    if problem.layout == "channels_last":
        rows = level(columns, group=groups, q_d=live_d, q_h=live_h, q_w=span, c_out=c_out)
    else:
        rows = level(columns, group=groups, c_out=c_out, q_d=live_d, q_h=live_h, q_w=span)
    if problem.stride_w == 1 and problem.dilation_w > 1:
        runs = level(e_d * e_h * e_w, e_d=e_d, e_h=e_h, e_w=e_w)
        row = level(window_row(packing.channels), c_in=packing.channels)
    else:
        runs = level(e_d * e_h, e_d=e_d, e_h=e_h)
        row = level(window_row(e_w * packing.channels), e_w=e_w, c_in=packing.channels)
    residues, sides = packing.residues, packing.sides
    at = {
        TAPS[axis]: residue_tap(problem, axis, residues, sides, f"q_{name}", {f"e_{name}": 1})
        for axis, name in enumerate("dhw")
    }
    return weight_layout(problem, rows, runs, row, rounded=rounded, at=at, bounds={"q_w": live_w})
