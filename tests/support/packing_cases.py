"""Layouts of every family, as (name, layout, dtype), and weights with all that a float can be: for what evaluates layouts."""

import torch
from awkward import problem
from tunedb.kernels.depthwise.weights import tap_major
from tunedb.kernels.direct.weights import column_major
from tunedb.kernels.implicit_gemm.weights import k_major
from tunedb.kernels.kn2row.weights import width_major
from tunedb.kernels.packed.shape import residues_of_row
from tunedb.kernels.packed.weights import residue_major, window_major
from tunedb.kernels.shared.packing import packing_of
from tunedb.kernels.shared_rows.shape import wide
from tunedb.kernels.shared_rows.weights import core_major

HALF, BRAIN, LAST = {"dtype": "float16"}, {"dtype": "bfloat16"}, {"layout": "channels_last"}
FORWARD = problem("conv3d", c=(10, 14), extents=9, k=(2, 3, 2), groups=2, **HALF)
FLAT = problem("conv_transpose1d", c=(5, 7), extents=9, k=4)
LARGE = problem("conv2d", c=(90, 130), extents=9, k=(2, 3))
SMALL = problem("conv2d", c=(18, 40), extents=9, k=(2, 3))
FEW = problem("conv2d", c=(3, 10), extents=29, k=(3, 7), **HALF)
STRIDED = problem("conv_transpose3d", c=(9, 6), extents=5, k=(2, 3, 4), s=(3, 2, 4), p=1, d=(3, 2, 2), **BRAIN, **LAST)  # fmt: skip
JOINED = problem("conv_transpose2d", c=(9, 10), extents=6, k=(4, 5), s=(2, 3), p=(1, 2))


def _residue(given, rounded):
    packing = packing_of(given)
    return residue_major(given, packing, residues_of_row(packing), rounded=rounded)


def _core(given, **changed):
    packing = packing_of(given)
    config = {"stack": 1, "high": 1, "block_m": 32, "block_k": 16, "few": False, "rounded": False} | changed
    return core_major(given, residues=packing.residues, sides=packing[:3], wide=wide(packing), **config)


def cases():
    """Yield each family's layouts; some are of more than 2^16 elements."""
    yield (
        "tap_major",
        tap_major(problem("conv2d", c=(6, 12), extents=5, k=(2, 3), groups=6, **BRAIN)),
        "bfloat16",
    )
    yield "column_major", column_major(FORWARD, rows=8, row=8), "float16"
    yield "k_major", k_major(FORWARD, rounded=False), "float16"
    yield "k_major, transposed", k_major(FLAT, rounded=True), "float32"
    yield "k_major, large", k_major(LARGE, rounded=True), "float32"
    yield "width_major", width_major(SMALL, rounded=False), "float32"
    yield "window_major", window_major(FORWARD, packing_of(FORWARD), 2, rounded=False), "float16"
    yield "window_major, transposed", window_major(FLAT, packing_of(FLAT), 4, rounded=True), "float32"
    yield "residue_major", _residue(STRIDED, rounded=False), "bfloat16"
    yield "residue_major, rounded", _residue(JOINED, rounded=True), "float32"
    yield "core_major", _core(SMALL, stack=2, high=3, block_m=64, rounded=True), "float32"
    yield "core_major, few", _core(FEW, few=True), "float16"
    yield "core_major, by residue", _core(JOINED, high=packing_of(JOINED).height.taps), "float32"


def weight_of(layout, dtype, seed=0):
    """Return a seeded weight among whose elements are NaNs of several payloads, infinities, subnormals, ties and -0."""
    weight = torch.randn(layout.weight_shape, generator=torch.Generator().manual_seed(seed)).to(
        getattr(torch, dtype)
    )
    flat = weight.view(-1)
    if dtype == "float32":
        bits = (
            0x7F800000,
            -0x800000,
            0x7FC00001,
            0x7F800001,
            -1,
            0x3F801000,
            -0x407FF000,
            0x7F7FFFFF,
            1,
            -0x80000000,
        )
        flat.view(torch.int32)[: len(bits)] = torch.tensor(bits, dtype=torch.int32)
    else:
        bits = (0x7C00, 0x7F80, 0x7FC1, 0x7C01, -1, -0x400, 1, -0x8000)
        flat.view(torch.int16)[: len(bits)] = torch.tensor(bits, dtype=torch.int16)
    return weight
