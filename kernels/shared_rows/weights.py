"""How shared_rows lays out a weight: in the order in which the matrix units read it."""

from collections.abc import Sequence

from tunedb.kernels.shared.weight_layouts import TAPS, forward_tap, residue_tap, weight_layout

from tunedb.problem import ITEM_BYTES, Problem
from tunedb.weights.layout import Layout, affine, level

__all__ = ["core_major"]


def core_major(
    problem: Problem,
    *,
    residues: "Sequence[tuple[int, int, int]]",
    sides: "Sequence[tuple[int, int, int, int]]",
    wide: int,
    stack: int,
    high: int,
    block_m: int,
    block_k: int,
    few: bool,
    rounded: bool,
) -> Layout:
    """Return the layout [groups * residues, blocks, steps, taps, block_k / vector, block_m, vector], some of them in parts.

    The matrix units read vectors of 16 bytes, 8 at a time. Residues are those of depth and height.

    Steps: depth taps, height taps in runs of `high`, and input channels in runs of block_k. Taps of a step: `high` height
    taps by all width taps. With `few` (at most 4 input channels) one tap joins block_k / 4 neighbouring width taps, 4
    channels each.

    Rows of a block: `stack` neighbouring outputs along the height by channels. The weights of output s are shifted by s
    height taps; the other taps are zeros. A strided transposed problem has instead the residues of the width, rounded up
    to `wide` with zeros, by channels; residues are innermost in channels_first. `residues` and `sides` are those of
    residue_tap. Transposed problems of stride 1 have their taps reversed.
    """
    groups, c_in, c_out = problem.groups, problem.c_in // problem.groups, problem.c_out // problem.groups
    vector = 16 // ITEM_BYTES[problem.dtype]
    strided = problem.transposed and max(problem.stride) > 1
    per_output = block_m // (stack * wide)
    blocks, chunks = -(-c_out // per_output), -(-c_in // block_k)
    bounds = {}
    at = {
        "c_out": affine(block=per_output, line=1),
        "c_in": affine(chunk=block_k, part=vector, lane=1),
    }
    outer, outputs, lanes = level(groups, group=groups), level(stack, s=stack), level(vector, lane=vector)
    depth, height, width = problem.k_d, problem.k_h + stack - 1, problem.k_w
    if strided:
        (live_d, *_), (live_h, *_), (live_w, *_) = residues
        depth, height, width = (side[0] for side in sides)
        outer = level(groups * live_d * live_h, group=groups, q_d=live_d, q_h=live_h)
        outputs, bounds = level(wide, q_w=wide), {"q_w": live_w}
        windows = ("q_d", {"e_d": 1}), ("q_h", {"run": high, "e_h": 1}), ("q_w", {"e_w": 1})
        for axis, (q, e) in enumerate(windows):
            at[TAPS[axis]] = residue_tap(problem, axis, residues, sides, q, e)
    else:
        at["k_d"] = forward_tap(problem, 0, e_d=1)
        at["k_h"] = forward_tap(problem, 1, run=high, e_h=1, s=-1)
        at["k_w"] = forward_tap(problem, 2, e_w=1)
        if few:
            # A vector holds 4 channels of vector / 4 neighbouring taps.
            width = -(-problem.k_w // (block_k // 4))
            lanes = level(vector, near=vector // 4, c_in=4)
            at["c_in"] = affine(c_in=1)
            at["k_w"] = forward_tap(problem, 2, e_w=block_k // 4, part=vector // 4, near=1)
    lines = level(per_output, line=per_output)
    rows = (lines, outputs) if strided and problem.layout == "channels_first" else (outputs, lines)
    return weight_layout(
        problem,
        outer,
        level(blocks, block=blocks),
        level(depth, e_d=depth),
        level(height // high, run=height // high),
        level(chunks, chunk=chunks),
        level(high, e_h=high),
        level(width, e_w=width),
        level(block_k // vector, part=block_k // vector),
        *rows,
        lanes,
        rounded=rounded,
        at=at,
        bounds=bounds,
    )
