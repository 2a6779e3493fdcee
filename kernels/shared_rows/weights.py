"""How shared_rows lays out a weight: packed once for each weight tensor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunedb.kernels.shared.weight_layouts import as_forward, by_residue, nearest_tf32

from tunedb.problem import ITEM_BYTES, Problem
from tunedb.weight_cache import Packer

if TYPE_CHECKING:
    from torch import Tensor

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
) -> Packer:
    """Return a packer to [groups * residues * blocks, steps, taps, block_k / vector, block_m, vector].

    This is the order in which the matrix units read weights: vectors of 16 bytes, 8 at a time. Residues are those of depth
    and height.

    Steps: depth taps, height taps in runs of `high`, and input channels in runs of block_k. Taps of a step: `high` height
    taps by all width taps. With `few` (at most 4 input channels) one tap joins block_k / 4 neighbouring width taps, 4
    channels each.

    Rows of a block: `stack` neighbouring outputs along the height by channels. The weights of output s are shifted by s
    height taps; the other taps are zeros. A strided transposed problem has instead the residues of the width, rounded up
    to `wide` with zeros, by channels; residues are innermost in channels_first. `residues` and `sides` are those of
    residue_major. Transposed problems of stride 1 have their taps reversed. `rounded` as in k_major.
    """
    import torch

    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    vector = 16 // ITEM_BYTES[problem.dtype]
    strided = problem.transposed and max(problem.stride) > 1
    per_output = block_m // (stack * wide)
    blocks, chunks = -(-c_out // per_output), -(-c_in // block_k)
    together = block_k // 4
    dense_of = by_residue(problem, residues, sides, c_in, wide) if strided else None

    def by_output(weight: "Tensor") -> "list[Tensor]":
        """Return [groups, c_out, channels, taps of three axes] for each of the stack * wide outputs that share a block."""
        if dense_of is not None:
            apart = dense_of(weight).permute(4, 0, 2, 3, 1, 8, 5, 6, 7).flatten(1, 3)
            return list(apart)
        given = as_forward(problem, weight)
        if few:
            given = torch.nn.functional.pad(given, (0, -problem.k_w % together, 0, 0, 0, 0, 0, 4 - c_in))
            given = given.reshape(*given.shape[:5], -1, together).permute(0, 1, 6, 2, 3, 4, 5).flatten(2, 3)
        return [torch.nn.functional.pad(given, (0, 0, s, stack - 1 - s)) for s in range(stack)]

    def pack(weight: "Tensor") -> "Tensor":
        found = torch.stack(by_output(weight), 1)
        *_, k_d, k_h, _ = found.shape
        more = (0, 0, 0, 0, 0, 0, 0, chunks * block_k - found.shape[3], 0, blocks * per_output - c_out)
        dense = torch.nn.functional.pad(found, more).reshape(
            -1, stack * wide, blocks, per_output, chunks, block_k // vector, vector, k_d, k_h // high, high, found.shape[-1]
        )  # fmt: skip
        inner = (3, 1) if strided and problem.layout == "channels_first" else (1, 3)
        packed = dense.permute(0, 2, 7, 8, 4, 9, 10, 5, *inner, 6).contiguous()
        return nearest_tf32(packed) if rounded else packed

    return Packer(pack)
