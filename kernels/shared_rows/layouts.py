"""How the tiles of shared_rows lie in registers and in shared memory, in Gluon."""

from typing import Any, NamedTuple

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

__all__ = ["Layouts", "layouts_of"]


class Layouts(NamedTuple):
    """The kernel's constant LAYOUTS."""

    product: Any  # sums in registers, [rows of the product, positions]
    loaded: Any  # a row of input in registers, [positions, channels]
    copied: Any  # which thread copies which weights
    stored: Any  # results on their way out: [rows, outputs]
    vectors: Any  # of an allocation, 16 bytes a line: `view` reads it by one of the next two
    x_shared: Any  # a row of input in shared memory
    w_shared: Any  # the weights of a tap in shared memory


@gluon.constexpr_function
def layouts_of(problem, config, shape):
    vector, warps = shape.vector, config.num_warps
    if config.UNIT == "wgmma":
        warps_m = 8 if config.BLOCK_M == 128 and warps == 8 else 4
        instruction = [16, config.BLOCK_N * warps_m // warps, 2 * vector]
        product = gl.NVMMADistributedLayout([3, 0], [warps_m, warps // warps_m], instruction)
    else:
        warps_m = min(config.BLOCK_M // 16, 2 if config.BLOCK_M <= 64 else 4)
        product = gl.NVMMADistributedLayout([2, 0], [warps_m, warps // warps_m], [16, 8])
    columns = config.BLOCK_K // vector
    # Outputs of a position that lie side by side in memory.
    joined = 1 if problem.channels_last else shape.wide
    if problem.channels_last:
        loaded = gl.BlockedLayout([1, vector], [32 // columns, columns], [warps, 1], [1, 0])
        stored = gl.BlockedLayout([vector, 1], [8, 4], [1, warps], [0, 1])
    else:
        column_warps = min(warps, columns)
        loaded = gl.BlockedLayout(
            [shape.pair, vector], [32, 1], [warps // column_warps, column_warps], [0, 1]
        )
        # A thread stores as many neighbours as rows are aligned to, so that a warp's store is one run of memory.
        run = min(vector, problem.even_out) if joined == shape.residues_w else 1
        lanes = min(32, config.BLOCK_N * joined // run)
        stored = gl.BlockedLayout([1, run], [32 // lanes, lanes], [warps, 1], [1, 0])
    row_warps = max(1, min(warps, config.BLOCK_M // 32))
    return Layouts(
        product=product,
        loaded=loaded,
        copied=gl.BlockedLayout([1, vector], [32, 1], [row_warps, warps // row_warps], [1, 0]),
        stored=stored,
        vectors=gl.SwizzledSharedLayout(1, 1, 1, [1, 0]),
        x_shared=_by_vectors(config.BLOCK_N, config.BLOCK_K, vector),
        w_shared=_by_vectors(config.BLOCK_M, config.BLOCK_K, vector),
    )


@gluon.constexpr_function
def _by_vectors(rows, columns, vector):
    """Return the layout of [rows, columns] as vectors of 16 bytes: the first vector of every row, then the second of every row.

    The matrix unit reads eight neighbouring vectors (a core matrix) at once, from any address that is a multiple of
    16 bytes, so a window can start at any position. A swizzled layout must start at a multiple of 1024 bytes.
    """
    bases = [[0, 1 << bit] for bit in range(vector.bit_length() - 1)]
    bases += [[1 << bit, 0] for bit in range(rows.bit_length() - 1)]
    bases += [[0, vector << bit] for bit in range((columns // vector).bit_length() - 1)]
    return gl.SharedLinearLayout(bases, [], 128)
