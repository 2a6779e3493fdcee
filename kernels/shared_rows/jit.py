"""The kernel of shared_rows, in Gluon: rows are loaded into shared memory once; each tap reads them at a shifted address."""

from typing import Any, NamedTuple

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)
from tunedb.kernels.shared_rows.io import (
    Sizes,
    load_row,
    opaque,
    scheduling_fence,
    store,
    store_to_shared,
    tile_pointers,
    view,
)
from tunedb.kernels.shared_rows.layouts import layouts_of

__all__ = ["shared_rows"]

# Triton 3.7 renamed it.
barrier = getattr(gl, "barrier", None) or gl.thread_barrier


class Stages(NamedTuple):
    """Where steps find their operands: a buffer of shared memory for each row and each tap of both stages."""

    x: Any  # buffer stage * SHAPE.read + row
    w: Any  # buffer stage * SHAPE.taps + tap; with RESIDENT step * SHAPE.taps + tap
    w_pointers: Any  # of the weights of tap 0 of step 0


@gluon.jit
def shared_rows(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    PROBLEM: gl.constexpr, CONFIG: gl.constexpr, SHAPE: gl.constexpr,
):  # fmt: skip
    """Compute TILES tiles of one block: geometry.Constants, launch.Config and shape.Shape are its compile-time arguments.

    w: [groups * residues * blocks_m, steps, taps of a step, BLOCK_K / 16 bytes, BLOCK_M, 16 bytes], see weights.core_major.

    A strided transposed convolution runs as one of stride 1: the outputs of an axis that share a position are its
    residues. Those of depth and height are blocks of their own, those of the width rows of one product, rounded up to
    SHAPE.wide. With SHAPE.few the BLOCK_K columns of a position are 4 channels of each of BLOCK_K / 4 neighbours, and one
    tap multiplies them all.
    """
    DTYPE: gl.constexpr = x_ptr.dtype.element_ty
    LAYOUTS: gl.constexpr = layouts_of(PROBLEM, CONFIG, SHAPE)
    # gl.static_range, shapes, and arguments of jit functions on Triton 3.6 must be constexprs, but a field of one is a plain
    # value: those are bound here.
    BLOCK_M: gl.constexpr = CONFIG.BLOCK_M
    BLOCK_N: gl.constexpr = CONFIG.BLOCK_N
    BLOCK_K: gl.constexpr = CONFIG.BLOCK_K
    PRODUCT: gl.constexpr = LAYOUTS.product
    W_SHARED: gl.constexpr = LAYOUTS.w_shared
    VECTOR: gl.constexpr = SHAPE.vector
    READ: gl.constexpr = SHAPE.read
    TAPS: gl.constexpr = SHAPE.taps
    STEPS: gl.constexpr = SHAPE.steps
    TILES: gl.constexpr = CONFIG.TILES
    LINES: gl.constexpr = CONFIG.LINES
    # Rows of output that share a run of positions: LINES products of STACK rows, of one residue.
    RUN_H: gl.constexpr = LINES * CONFIG.STACK * SHAPE.residues_h

    in_w = in_w // PROBLEM.even_in * PROBLEM.even_in
    # Rows lie one after another, each with the halo that its windows reach beyond it: a tile is any run of their positions.
    pitch = (out_w + (SHAPE.residues_w - 1)) // SHAPE.residues_w + (SHAPE.halo + SHAPE.pitch - 1)
    pitch = pitch // SHAPE.pitch * SHAPE.pitch
    positions_h = (out_h + (RUN_H - 1)) // RUN_H
    positions_d = (out_d + (SHAPE.residues_d - 1)) // SHAPE.residues_d
    pid = gl.program_id(0)
    block = pid % SHAPE.blocks  # neighbouring programs read the same rows
    first = pid // SHAPE.blocks * TILES
    plane = in_d * in_h * in_w
    if PROBLEM.large:
        plane = plane.to(gl.int64)
    stride_c = 1 if PROBLEM.channels_last else plane
    channel = gl.arange(0, BLOCK_K, layout=gl.SliceLayout(0, LAYOUTS.loaded))
    group = block // (SHAPE.blocks_m * SHAPE.residues_d * SHAPE.residues_h)
    x_ptr += group * PROBLEM.c_in * stride_c
    sizes = Sizes(
        n, in_d, in_h, in_w, out_d, out_h, out_w, positions_d, positions_h, pitch, plane, stride_c, channel
    )
    w_row = gl.arange(0, BLOCK_M, layout=gl.SliceLayout(1, LAYOUTS.copied))
    w_column = gl.arange(0, BLOCK_K, layout=gl.SliceLayout(0, LAYOUTS.copied))
    w_offset = w_column // VECTOR * (BLOCK_M * VECTOR) + w_column % VECTOR
    w_pointers = (
        w_ptr + block * (STEPS * TAPS * BLOCK_M * BLOCK_K) + w_row[:, None] * VECTOR + w_offset[None, :]
    )

    # One allocation for each row and tap of each stage, so that the compiler sees which accesses cannot conflict.
    x_buffers = ()
    for _ in gl.static_range(2 * READ):
        x_buffers += (
            gl.allocate_shared_memory(
                DTYPE, [BLOCK_N * BLOCK_K // VECTOR + SHAPE.past, 1, VECTOR], LAYOUTS.vectors
            ),
        )
    w_buffers = ()
    for _ in gl.static_range(TAPS * (STEPS if CONFIG.RESIDENT else 2)):
        w_buffers += (
            gl.allocate_shared_memory(DTYPE, [BLOCK_M * BLOCK_K // VECTOR, 1, VECTOR], LAYOUTS.vectors),
        )
    stages = Stages(x_buffers, w_buffers, w_pointers)
    for tap in gl.static_range(TAPS * (STEPS if CONFIG.RESIDENT else 1)):
        async_copy.async_copy_global_to_shared(
            view(stages.w[tap], 0, BLOCK_M, BLOCK_K, W_SHARED), w_pointers + tap * (BLOCK_M * BLOCK_K)
        )
    async_copy.commit_group()
    x = tile_pointers(x_ptr, first, first, 1, sizes, PROBLEM, CONFIG, SHAPE, LAYOUTS)
    for row in gl.static_range(READ):
        store_to_shared(stages.x[row], load_row(x, sizes, 0, row, PROBLEM, CONFIG, SHAPE), CONFIG, LAYOUTS)
    # Rows are loaded into registers two steps ahead of their products: where a tile has one step, two tiles ahead.
    rows = ()
    if STEPS > 1 or TILES > 1:
        next_x = x
        if STEPS == 1:
            next_x = tile_pointers(x_ptr, first + 1, first, TILES, sizes, PROBLEM, CONFIG, SHAPE, LAYOUTS)
        for row in gl.static_range(READ):
            rows += (load_row(next_x, sizes, 1 % STEPS, row, PROBLEM, CONFIG, SHAPE),)
    async_copy.wait_group(0)
    if CONFIG.UNIT == "wgmma":
        fence_async_shared()
    barrier()
    # A tile with an odd number of steps ends in the stage in which it began, so the next tile begins in the other: two
    # tiles a turn make the stages constants.
    TURN: gl.constexpr = 1 + STEPS % 2 if TILES > 1 else 1
    # Steps that run in a loop, two a turn. The last two are unrolled: they prepare the next tile. With RESIDENT all are,
    # since each multiplies buffers of its own.
    LOOPED: gl.constexpr = (STEPS - 2) // 2 * 2 if STEPS > 2 and not CONFIG.RESIDENT else 0
    for turn in range(TILES // TURN):
        for odd in gl.static_range(TURN):
            tile = first + turn * TURN + odd
            sums = ()
            for _ in gl.static_range(LINES):
                zeros = gl.zeros((BLOCK_M, BLOCK_N), gl.float32, layout=PRODUCT)
                if CONFIG.UNIT == "wgmma":
                    zeros = warpgroup_mma_init(zeros)
                sums += (zeros,)
            if LOOPED > 0:
                for twice in range(LOOPED // 2):
                    for parity in gl.static_range(2):
                        sums, rows = _step(
                            stages, sums, rows, x, sizes, tile, opaque(twice * 2) + parity, parity, 0, odd,
                            PROBLEM, CONFIG, SHAPE, LAYOUTS,
                        )  # fmt: skip
            next_x = x
            if TILES > 1:
                ahead = tile + (2 if STEPS == 1 else 1)
                next_x = tile_pointers(x_ptr, ahead, first, TILES, sizes, PROBLEM, CONFIG, SHAPE, LAYOUTS)
            for step in gl.static_range(LOOPED, STEPS):
                sums, rows = _step(
                    stages, sums, rows, x if step + 2 < STEPS else next_x, sizes, tile, step, step, step + 3 - STEPS, odd,
                    PROBLEM, CONFIG, SHAPE, LAYOUTS,
                )  # fmt: skip
            if CONFIG.UNIT == "wgmma":
                sums = _wait_for_products(sums, LINES, 0)
                if TILES == 1:
                    barrier()  # stores change layout in the memory that the last products read
            for line in gl.static_range(LINES):
                store(y_ptr, b_ptr, sums[line], line, tile, block, sizes, PROBLEM, CONFIG, SHAPE, LAYOUTS)
            x = next_x


@gluon.jit
def _step(
    stages, sums, rows, x, sizes, tile, step, STEP: gl.constexpr, LEFT: gl.constexpr, ODD: gl.constexpr,
    PROBLEM: gl.constexpr, CONFIG: gl.constexpr, SHAPE: gl.constexpr, LAYOUTS: gl.constexpr,
):  # fmt: skip
    """Multiply one stage; meanwhile write the next step's operands to the other stage and load the rows of the step after.

    STEP is the step where it is a constant, else its parity. LEFT is 1 in the last step but one of a tile, 2 in the last
    and at most 0 before: from 1 on the rows that are loaded are the next tile's, at 2 also those that are written.
    ODD is 1 where the tile began in stage 1.

    Double buffer: overwrite stage 1-s once the previous step's products are done in all warps; its copies overlap this
    step's first ones, so the matrix units always have products waiting. Weights are copied first, since nothing else
    covers their latency; the loads of rows stay between the products, a whole step before they are needed.
    """
    TAPS: gl.constexpr = SHAPE.taps
    READ: gl.constexpr = SHAPE.read
    LINES: gl.constexpr = CONFIG.LINES
    BLOCK_M: gl.constexpr = CONFIG.BLOCK_M
    BLOCK_N: gl.constexpr = CONFIG.BLOCK_N
    BLOCK_K: gl.constexpr = CONFIG.BLOCK_K
    X_SHARED: gl.constexpr = LAYOUTS.x_shared
    W_SHARED: gl.constexpr = LAYOUTS.w_shared
    K_WIDTH: gl.constexpr = SHAPE.vector // 4
    LATE: gl.constexpr = TAPS // 2  # the tap from which on rows are written and loaded
    # Rows of input from one line to the next.
    NEXT_LINE: gl.constexpr = CONFIG.STACK if CONFIG.HIGH > 1 else 1
    STAGE: gl.constexpr = (STEP + ODD) % 2
    W_STAGE: gl.constexpr = STEP if CONFIG.RESIDENT else STAGE
    WRITES: gl.constexpr = LEFT < 2 or CONFIG.TILES > 1
    LOADS: gl.constexpr = LEFT < 1 or CONFIG.TILES > 1
    # Always 0, but opaque: keeps LLVM from holding every window's address in registers.
    zero = (sizes.n + tile + step) >> 31
    loaded = ()
    for tap in gl.static_range(TAPS):
        added = ()
        weights = view(stages.w[W_STAGE * TAPS + tap], zero, BLOCK_M, BLOCK_K, W_SHARED)
        if CONFIG.UNIT == "mma":
            weights = weights.load(gl.DotOperandLayout(0, LAYOUTS.product, K_WIDTH))
        for line in gl.static_range(LINES):
            window = view(
                stages.x[STAGE * READ + line * NEXT_LINE + tap // SHAPE.taps_w],
                zero + (-SHAPE.width.lead % SHAPE.pair + tap % SHAPE.taps_w * SHAPE.shift),
                BLOCK_N, BLOCK_K, X_SHARED,
            ).permute((1, 0))  # fmt: skip
            if CONFIG.UNIT == "wgmma":
                added += (warpgroup_mma(weights, window, sums[line], is_async=True),)
            else:
                values = window.load(gl.DotOperandLayout(1, LAYOUTS.product, K_WIDTH))
                added += (mma_v2(weights, values, sums[line], input_precision="tf32"),)
        sums = added
        if tap == 0:
            if CONFIG.UNIT == "wgmma":
                sums = _wait_for_products(sums, LINES, LINES)
                barrier()
            if WRITES and not CONFIG.RESIDENT:
                for other in gl.static_range(TAPS):
                    following = ((step + 1) if LEFT < 2 else 0) * TAPS + other
                    async_copy.async_copy_global_to_shared(
                        view(stages.w[(1 - STAGE) * TAPS + other], 0, BLOCK_M, BLOCK_K, W_SHARED),
                        stages.w_pointers + following * (BLOCK_M * BLOCK_K),
                    )
                async_copy.commit_group()
        for row in gl.static_range(READ):
            if LATE + row * (TAPS - LATE) // READ == tap:
                if WRITES:
                    store_to_shared(stages.x[(1 - STAGE) * READ + row], rows[row], CONFIG, LAYOUTS)
                if LOADS:
                    scheduling_fence(step)
                    ahead = (step + 2) if LEFT < 1 else (LEFT - 1) % SHAPE.steps
                    loaded += (load_row(x, sizes, ahead, row, PROBLEM, CONFIG, SHAPE),)
                    scheduling_fence(step)
    if WRITES:
        if not CONFIG.RESIDENT:
            async_copy.wait_group(0)
        if CONFIG.UNIT == "wgmma":
            fence_async_shared()
        barrier()
    if not LOADS:
        loaded = rows
    return sums, loaded


@gluon.jit
def _wait_for_products(sums, LINES: gl.constexpr, BUT: gl.constexpr):
    """Wait for all products but the last `BUT`."""
    sums = warpgroup_mma_wait(BUT, deps=sums)
    if LINES == 1:
        sums = (sums,)  # Gluon returns a single tensor without a tuple
    return sums
