"""The code of kernels/shared_rows.py, in Gluon: an input in shared memory once serves every tap that reads it."""

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
from tunedb.kernels.shared_rows.io import anew, fetched, pinned, placed, put, seen, store

__all__ = ["shared_rows"]

# Triton 3.7 gave it another name.
barrier = getattr(gl, "barrier", None) or gl.thread_barrier


@gluon.constexpr_function
def cores(rows, columns, vector):
    """Return the layout of rows in shared memory as vectors of 16 bytes, one after another, for a vector of columns after another.

    Eight neighbouring vectors are what the matrix unit reads at once, from any address that is a multiple of 16 bytes:
    with swizzled layouts it would have to be one of 1024, and a window could not move by one position.
    """
    bases = [[0, 1 << bit] for bit in range(vector.bit_length() - 1)]
    bases += [[1 << bit, 0] for bit in range(rows.bit_length() - 1)]
    bases += [[0, vector << bit] for bit in range((columns // vector).bit_length() - 1)]
    return gl.SharedLinearLayout(bases, [], 128)


@gluon.jit
def shared_rows(
    x_ptr, w_ptr, b_ptr, y_ptr,
    n, in_d, in_h, in_w, out_d, out_h, out_w,
    C_IN: gl.constexpr, C_OUT: gl.constexpr, GROUPS: gl.constexpr,
    SIDE_D: gl.constexpr, SIDE_H: gl.constexpr, SIDE_W: gl.constexpr,
    EVEN_IN: gl.constexpr, EVEN_OUT: gl.constexpr, HAS_BIAS: gl.constexpr, CHANNELS_LAST: gl.constexpr, LARGE: gl.constexpr,
    FEW: gl.constexpr, PAIR: gl.constexpr, PITCH: gl.constexpr, HALO: gl.constexpr, PERIODS: gl.constexpr, WIDE: gl.constexpr, UNIT: gl.constexpr,
    STACK: gl.constexpr, LINES: gl.constexpr, HIGH: gl.constexpr, TILES: gl.constexpr, RESIDENT: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """w: [GROUPS, blocks of BLOCK_M rows, steps, taps of a step, BLOCK_K / 16 bytes, BLOCK_M, 16 bytes], see weights.core_major.

    A strided transposed convolution is one of stride 1 whose rows of w are residues: PERIODS outputs of each axis share a position,
    those of depth and height are blocks, those of the width, made up to WIDE, rows of one. With FEW the BLOCK_K channels of a position are 4 channels of each of its neighbours, and a tap is all of them.
    """
    DTYPE: gl.constexpr = x_ptr.dtype.element_ty
    BITS: gl.constexpr = DTYPE.primitive_bitwidth
    VECTOR: gl.constexpr = 128 // BITS
    # Rows of input that a step has in shared memory, and its taps.
    READ: gl.constexpr = (LINES - 1) * STACK + HIGH if HIGH > 1 else LINES
    TAPS_W: gl.constexpr = (SIDE_W.taps + BLOCK_K // 4 - 1) // (BLOCK_K // 4) if FEW else SIDE_W.taps
    TAPS: gl.constexpr = HIGH * TAPS_W
    CHUNKS: gl.constexpr = 1 if FEW else (C_IN + BLOCK_K - 1) // BLOCK_K
    HEIGHTS: gl.constexpr = (SIDE_H.taps + STACK - 1) // HIGH
    STEPS: gl.constexpr = SIDE_D.taps * HEIGHTS * CHUNKS
    CHANNELS: gl.constexpr = BLOCK_M // (STACK * WIDE)
    NUM_M: gl.constexpr = (C_OUT + CHANNELS - 1) // CHANNELS
    PERIOD_D: gl.constexpr = PERIODS[0]
    PERIOD_H: gl.constexpr = PERIODS[1]
    PERIOD_W: gl.constexpr = PERIODS[2]
    BLOCKS: gl.constexpr = GROUPS * PERIOD_D * PERIOD_H * NUM_M
    VALID: gl.constexpr = (BLOCK_N - HALO) // 8 * 8
    # What windows of positions that are not stored read beyond the last row.
    PAST: gl.constexpr = (HALO + 7) // 8 * 8
    if UNIT == "wgmma":
        WARPS_M: gl.constexpr = 8 if BLOCK_M == 128 and WARPS == 8 else 4
        product: gl.constexpr = gl.NVMMADistributedLayout(
            [3, 0], [WARPS_M, WARPS // WARPS_M], [16, BLOCK_N * WARPS_M // WARPS, 256 // BITS]
        )
    else:
        WARPS_M: gl.constexpr = min(BLOCK_M // 16, 2 if BLOCK_M <= 64 else 4)
        product: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [WARPS_M, WARPS // WARPS_M], [16, 8])

    if CHANNELS_LAST:
        taken: gl.constexpr = gl.BlockedLayout(
            [1, VECTOR], [32 // (BLOCK_K // VECTOR), BLOCK_K // VECTOR], [WARPS, 1], [1, 0]
        )
    else:
        COLUMN_WARPS: gl.constexpr = min(WARPS, BLOCK_K // VECTOR)
        taken: gl.constexpr = gl.BlockedLayout(
            [PAIR, VECTOR], [32, 1], [WARPS // COLUMN_WARPS, COLUMN_WARPS], [0, 1]
        )
    ROW_WARPS: gl.constexpr = max(1, min(WARPS, BLOCK_M // 32))
    copied: gl.constexpr = gl.BlockedLayout([1, VECTOR], [32, 1], [ROW_WARPS, WARPS // ROW_WARPS], [1, 0])
    vectors: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    x_cores: gl.constexpr = cores(BLOCK_N, BLOCK_K, VECTOR)
    w_cores: gl.constexpr = cores(BLOCK_M, BLOCK_K, VECTOR)

    in_w = in_w // EVEN_IN * EVEN_IN
    # Rows lie one after another, each with the positions that its windows reach beyond it: a tile is any run of them.
    pitch = ((out_w + (PERIOD_W - 1)) // PERIOD_W + (HALO + PITCH - 1)) // PITCH * PITCH
    blocks_h = (out_h + (LINES * STACK * PERIOD_H - 1)) // (LINES * STACK * PERIOD_H)
    num_d = (out_d + (PERIOD_D - 1)) // PERIOD_D
    pid = gl.program_id(0)
    block = pid % BLOCKS  # neighbours read the same rows
    first = pid // BLOCKS * TILES
    plane = in_d * in_h * in_w
    if LARGE:
        plane = plane.to(gl.int64)
    stride_c = 1 if CHANNELS_LAST else plane
    channel = gl.arange(0, BLOCK_K, layout=gl.SliceLayout(0, taken))
    x_ptr += block // (NUM_M * PERIOD_D * PERIOD_H) * C_IN * stride_c
    sizes = (n, in_d, in_h, in_w, num_d, pitch, blocks_h, plane, stride_c, channel)
    w_row = gl.arange(0, BLOCK_M, layout=gl.SliceLayout(1, copied))
    w_column = gl.arange(0, BLOCK_K, layout=gl.SliceLayout(0, copied))
    w_place = w_column // VECTOR * (BLOCK_M * VECTOR) + w_column % VECTOR
    w_tile = w_ptr + block * (STEPS * TAPS * BLOCK_M * BLOCK_K) + w_row[:, None] * VECTOR + w_place[None, :]

    # Memory of its own for each row and tap of each stage: the compiler then sees what does not concern what.
    x_room = ()
    for _ in gl.static_range(2 * READ):
        x_room += (
            gl.allocate_shared_memory(DTYPE, [BLOCK_N * BLOCK_K // VECTOR + PAST, 1, VECTOR], vectors),
        )
    w_room = ()
    for _ in gl.static_range(TAPS * (STEPS if RESIDENT else 2)):
        w_room += (gl.allocate_shared_memory(DTYPE, [BLOCK_M * BLOCK_K // VECTOR, 1, VECTOR], vectors),)
    for tap in gl.static_range(TAPS * (STEPS if RESIDENT else 1)):
        async_copy.async_copy_global_to_shared(
            seen(w_room[tap], 0, BLOCK_M, BLOCK_K, w_cores), w_tile + tap * (BLOCK_M * BLOCK_K)
        )
    async_copy.commit_group()
    x = placed(
        x_ptr, first, first, 1, sizes, SIDE_D, SIDE_H, SIDE_W,
        C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, LINES, PAIR, BLOCK_N, VALID, taken,
    )  # fmt: skip
    for row in gl.static_range(READ):
        loaded = fetched(x, sizes, 0, row, SIDE_D, SIDE_H, SIDE_W, C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, HIGH, CHUNKS, HEIGHTS, BLOCK_K)  # fmt: skip
        put(x_room[row], loaded, BLOCK_N, BLOCK_K, x_cores)
    # Loads are two steps ahead of the products: of the next tile but one where a tile has one step.
    rows = ()
    if STEPS > 1 or TILES > 1:
        then = x
        if STEPS == 1:
            then = placed(
                x_ptr, first + 1, first, TILES, sizes, SIDE_D, SIDE_H, SIDE_W,
                C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, LINES, PAIR, BLOCK_N, VALID, taken,
            )  # fmt: skip
        for row in gl.static_range(READ):
            rows += (
                fetched(then, sizes, 1 % STEPS, row, SIDE_D, SIDE_H, SIDE_W, C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, HIGH, CHUNKS, HEIGHTS, BLOCK_K),
            )  # fmt: skip
    async_copy.wait_group(0)
    if UNIT == "wgmma":
        fence_async_shared()
    barrier()
    # An odd number of steps ends in the stage that it began in: the next tile begins in the other.
    TURNS: gl.constexpr = 1 + STEPS % 2 if TILES > 1 else 1
    # Which weights a step takes must be known at compile time where they all stay.
    LOOPED: gl.constexpr = (STEPS - 2) // 2 * 2 if STEPS > 2 and not RESIDENT else 0
    for turn in range(TILES // TURNS):
        for odd in gl.static_range(TURNS):
            tile = first + turn * TURNS + odd
            sums = ()
            for _ in gl.static_range(LINES):
                zeros = gl.zeros((BLOCK_M, BLOCK_N), gl.float32, layout=product)
                if UNIT == "wgmma":
                    zeros = warpgroup_mma_init(zeros)
                sums += (zeros,)
            if LOOPED > 0:
                for twice in range(LOOPED // 2):
                    for slot in gl.static_range(2):
                        sums, rows = _step(
                            x_room, w_room, sums, rows, x, w_tile, sizes, tile, anew(twice * 2) + slot, slot, 0, odd, SIDE_D, SIDE_H, SIDE_W,
                            C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, LINES, HIGH, TILES, RESIDENT, PAIR, READ, TAPS_W, CHUNKS, HEIGHTS, STEPS,
                            BLOCK_M, BLOCK_N, BLOCK_K, x_cores, w_cores, UNIT, product,
                        )  # fmt: skip
            then = x
            if TILES > 1:
                then = placed(
                    x_ptr, tile + (2 if STEPS == 1 else 1), first, TILES, sizes, SIDE_D, SIDE_H, SIDE_W,
                    C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, LINES, PAIR, BLOCK_N, VALID, taken,
                )  # fmt: skip
            for step in gl.static_range(LOOPED, STEPS):
                sums, rows = _step(
                    x_room, w_room, sums, rows, x if step + 2 < STEPS else then, w_tile, sizes, tile, step, step, step + 3 - STEPS, odd,
                    SIDE_D, SIDE_H, SIDE_W, C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, LINES, HIGH, TILES, RESIDENT, PAIR, READ, TAPS_W, CHUNKS,
                    HEIGHTS, STEPS, BLOCK_M, BLOCK_N, BLOCK_K, x_cores, w_cores, UNIT, product,
                )  # fmt: skip
            if UNIT == "wgmma":
                sums = _ended(sums, LINES, 0)
                if TILES == 1:
                    barrier()  # stores use the memory of what was multiplied
            for of in gl.static_range(LINES):
                store(
                    y_ptr, b_ptr, sums[of], of, tile, block, n, out_d, out_h, out_w, num_d, pitch, blocks_h, C_OUT, GROUPS, NUM_M, HAS_BIAS,
                    CHANNELS_LAST, LARGE, EVEN_OUT, PERIODS, WIDE, STACK, LINES, VALID, BLOCK_M, BLOCK_N, WARPS, product,
                )  # fmt: skip
            x = then


@gluon.jit
def _step(
    x_room, w_room, sums, rows, x, w_tile, sizes, tile, step, place: gl.constexpr, LEFT: gl.constexpr, odd: gl.constexpr,
    SIDE_D: gl.constexpr, SIDE_H: gl.constexpr, SIDE_W: gl.constexpr, C_IN: gl.constexpr, GROUPS: gl.constexpr, CHANNELS_LAST: gl.constexpr, FEW: gl.constexpr,
    STACK: gl.constexpr, LINES: gl.constexpr, HIGH: gl.constexpr, TILES: gl.constexpr, RESIDENT: gl.constexpr, PAIR: gl.constexpr,
    READ: gl.constexpr, TAPS_W: gl.constexpr, CHUNKS: gl.constexpr, HEIGHTS: gl.constexpr, STEPS: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr, x_cores: gl.constexpr, w_cores: gl.constexpr, UNIT: gl.constexpr, product: gl.constexpr,
):  # fmt: skip
    """Multiply what is in one stage; meanwhile bring the next step into the other and begin to load the one after.

    LEFT is 1 in the last step but one of a tile and 2 in the last: what they load, and what the last brings, is the next tile's.
    The other stage can be written once the products of the step before have ended in all warps, and is while the first ones of
    this step are under way: the matrix units always have products waiting. Weights come first, since nothing else covers their
    way; the loads of rows stay between the products, a whole step before they are needed.
    """
    DTYPE: gl.constexpr = w_tile.dtype.element_ty
    TAPS: gl.constexpr = HIGH * TAPS_W
    SHIFT: gl.constexpr = BLOCK_K // 4 * SIDE_W.reach // SIDE_W.step if FEW else SIDE_W.reach
    K_WIDTH: gl.constexpr = 32 // DTYPE.primitive_bitwidth
    LATE: gl.constexpr = TAPS // 2
    LINE: gl.constexpr = STACK if HIGH > 1 else 1  # rows of input from one line to the next
    SLOT: gl.constexpr = (place + odd) % 2
    W_SLOT: gl.constexpr = place if RESIDENT else SLOT
    PUTS: gl.constexpr = LEFT < 2 or TILES > 1
    LOADS: gl.constexpr = LEFT < 1 or TILES > 1
    # New in every step for all the compiler knows, which would otherwise keep the addresses of all windows in registers.
    nought = (sizes[0] + tile + step) >> 31
    coming = ()
    for tap in gl.static_range(TAPS):
        added = ()
        weights = seen(w_room[W_SLOT * TAPS + tap], nought, BLOCK_M, BLOCK_K, w_cores)
        if UNIT == "mma":
            weights = weights.load(gl.DotOperandLayout(0, product, K_WIDTH))
        for of in gl.static_range(LINES):
            window = seen(
                x_room[SLOT * READ + of * LINE + tap // TAPS_W],
                nought + (-SIDE_W.lead % PAIR + tap % TAPS_W * SHIFT),
                BLOCK_N, BLOCK_K, x_cores,
            ).permute((1, 0))  # fmt: skip
            if UNIT == "wgmma":
                added += (warpgroup_mma(weights, window, sums[of], is_async=True),)
            else:
                values = window.load(gl.DotOperandLayout(1, product, K_WIDTH))
                added += (mma_v2(weights, values, sums[of], input_precision="tf32"),)
        sums = added
        if tap == 0:
            if UNIT == "wgmma":
                sums = _ended(sums, LINES, LINES)
                barrier()
            if PUTS and not RESIDENT:
                for of in gl.static_range(TAPS):
                    following = ((step + 1) if LEFT < 2 else 0) * TAPS + of
                    async_copy.async_copy_global_to_shared(
                        seen(w_room[(1 - SLOT) * TAPS + of], 0, BLOCK_M, BLOCK_K, w_cores),
                        w_tile + following * (BLOCK_M * BLOCK_K),
                    )
                async_copy.commit_group()
        for row in gl.static_range(READ):
            if LATE + row * (TAPS - LATE) // READ == tap:
                if PUTS:
                    put(x_room[(1 - SLOT) * READ + row], rows[row], BLOCK_N, BLOCK_K, x_cores)
                if LOADS:
                    pinned(step)
                    coming += (
                        fetched(x, sizes, (step + 2) if LEFT < 1 else (LEFT - 1) % STEPS, row, SIDE_D, SIDE_H, SIDE_W, C_IN, GROUPS, CHANNELS_LAST, FEW, STACK, HIGH, CHUNKS, HEIGHTS, BLOCK_K),
                    )  # fmt: skip
                    pinned(step)
    if PUTS:
        if not RESIDENT:
            async_copy.wait_group(0)
        if UNIT == "wgmma":
            fence_async_shared()
        barrier()
    if not LOADS:
        coming = rows
    return sums, coming


@gluon.jit
def _ended(sums, LINES: gl.constexpr, BUT: gl.constexpr):
    """Wait for all products but the last ones."""
    sums = warpgroup_mma_wait(BUT, deps=sums)
    if LINES == 1:
        sums = (sums,)  # of one tensor Gluon makes no tuple
    return sums
