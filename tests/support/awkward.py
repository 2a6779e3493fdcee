"""Small problems that go wrong easily, for every kernel."""

from tunedb.problem import Problem, checked


def problem(
    op,
    n=1,
    c=(3, 5),
    extents=(7,),
    k=(3,),
    s=1,
    p=0,
    op_=0,
    d=1,
    groups=1,
    bias=0,
    dtype="float32",
    layout="channels_first",
    precision=None,
):
    """A problem in as few words as it takes; a number stands for every axis."""
    axes = int(op[-2])

    def each(size, fill):
        size = (size,) * axes if isinstance(size, int) else tuple(size) * (axes if len(size) == 1 else 1)
        return (fill,) * (3 - axes) + size

    precision = precision or ("tf32" if dtype == "float32" else "ieee")
    return checked(
        Problem(
            op,
            dtype,
            precision,
            layout,
            n,
            *c,
            groups,
            bias,
            *each(extents, 1),
            *each(k, 1),
            *each(s, 1),
            *each(p, 0),
            *each(op_, 0),
            *each(d, 1),
        )
    )


LAST, HALF, BRAIN = {"layout": "channels_last"}, {"dtype": "float16"}, {"dtype": "bfloat16"}

# Each line is here for the reason that it gives.
AWKWARD = {
    "one of everything": problem("conv1d", c=(1, 1), extents=1, k=1),
    "one output": problem("conv2d", c=(2, 3), extents=3, k=3, bias=1),
    "primes": problem("conv1d", n=2, c=(13, 17), extents=37, k=5, s=2, p=3, d=3, bias=1, **HALF),
    "more channels than a block": problem("conv2d", c=(67, 33), extents=(5, 6), k=(3, 2), p=1),
    "three channels": problem(
        "conv2d", n=2, c=(3, 20), extents=(9, 11), k=(5, 3), s=(2, 1), p=(2, 1), bias=1, **HALF
    ),
    "three channels, last": problem("conv3d", c=(3, 18), extents=(4, 5, 6), k=(3, 3, 1), **LAST),
    "padding beyond the kernel's reach": problem("conv1d", c=(2, 2), extents=3, k=2, p=5, bias=1),
    "kernel larger than the input": problem("conv2d", c=(2, 4), extents=(2, 3), k=(5, 4), p=3, **BRAIN),
    "groups": problem("conv2d", n=2, c=(6, 9), extents=(5, 7), k=3, p=1, groups=3, bias=1),
    "groups, last": problem("conv2d", n=1, c=(8, 12), extents=(4, 9), k=(1, 3), groups=2, **LAST, **HALF),
    "depthwise": problem("conv2d", n=2, c=(5, 5), extents=(9, 10), k=3, p=1, groups=5, bias=1),
    "depthwise with a multiplier": problem(
        "conv1d", n=2, c=(3, 6), extents=19, k=4, s=2, d=2, groups=3, **HALF
    ),
    "depthwise, last": problem("conv3d", c=(7, 14), extents=(3, 4, 5), k=(2, 3, 3), p=1, groups=7, **LAST),
    "depthwise in vectors": problem(
        "conv2d", n=2, c=(3, 3), extents=(7, 24), k=(3, 5), p=(2, 1), groups=3, bias=1, **HALF
    ),
    "depthwise with strides": problem(
        "conv2d", c=(4, 8), extents=(11, 16), k=(3, 4), s=(2, 3), p=(1, 2), groups=4
    ),
    "depthwise with dilation": problem(
        "conv2d", n=2, c=(3, 3), extents=(9, 20), k=3, s=(1, 2), p=4, d=(3, 2), groups=3, **BRAIN
    ),
    "depthwise with too many taps to unroll": problem(
        "conv2d", c=(2, 2), extents=(15, 14), k=13, p=6, groups=2
    ),
    "depthwise 3-D": problem(
        "conv3d", c=(2, 4), extents=(4, 5, 8), k=(3, 3, 2), s=(2, 1, 1), p=1, groups=2, bias=1
    ),
    "ieee": problem("conv2d", c=(16, 16), extents=6, k=3, p=1, precision="ieee"),
    "stride 1 transposed": problem(
        "conv_transpose2d", n=2, c=(5, 7), extents=(6, 5), k=(3, 2), p=(1, 0), bias=1
    ),
    "stride 1 transposed, last": problem(
        "conv_transpose3d", c=(3, 4), extents=(3, 4, 5), k=(2, 1, 3), p=(0, 0, 1), **LAST, **HALF
    ),
    "stride 1 transposed with dilation and groups": problem(
        "conv_transpose1d", n=2, c=(6, 4), extents=21, k=4, p=2, d=2, groups=2, bias=1, **HALF
    ),
    "k = s": problem("conv_transpose2d", n=2, c=(4, 6), extents=(5, 3), k=2, s=2, bias=1, **LAST, **HALF),
    "k = 2s": problem("conv_transpose1d", n=2, c=(18, 9), extents=23, k=8, s=4, p=2, bias=1, **HALF),
    "k < s": problem("conv_transpose1d", c=(3, 4), extents=7, k=2, s=5, bias=1),
    "dilation shares a factor with stride": problem(
        "conv_transpose1d", n=2, c=(3, 5), extents=11, k=3, s=4, p=1, op_=3, d=6, bias=1
    ),
    "dilation equal to stride": problem(
        "conv_transpose2d", c=(4, 3), extents=(4, 5), k=3, s=2, p=1, d=2, bias=1
    ),
    "three of four residues without taps": problem(
        "conv_transpose1d", n=2, c=(9, 8), extents=13, k=5, s=4, p=3, d=4, bias=1, **HALF
    ),
    "residues without taps in 3-D, last": problem(
        "conv_transpose3d",
        c=(8, 12),
        extents=(3, 2, 4),
        k=(2, 3, 3),
        s=(3, 2, 4),
        p=1,
        d=(3, 2, 2),
        bias=1,
        **LAST,
    ),
    "short rows as one": problem(
        "conv3d", n=2, c=(3, 20), extents=(5, 9, 6), k=(3, 3, 1), d=(1, 2, 1), bias=1
    ),
    "short rows as one, transposed": problem(
        "conv_transpose2d", c=(5, 6), extents=(7, 5), k=(4, 1), bias=1, precision="ieee"
    ),
    "stride beyond the output": problem(
        "conv_transpose3d", c=(2, 3), extents=(2, 1, 3), k=(1, 2, 2), s=(1, 3, 2), p=(0, 1, 0), d=(1, 3, 2)
    ),
    "output padding": problem(
        "conv_transpose2d", n=1, c=(6, 4), extents=(3, 4), k=3, s=(2, 3), p=1, op_=(1, 2), bias=1, **BRAIN
    ),
    "grouped strided transposed": problem(
        "conv_transpose2d", n=2, c=(8, 12), extents=(4, 5), k=(3, 5), s=(2, 3), p=(1, 2), d=(2, 1), groups=4
    ),
    "3-D transposed": problem(
        "conv_transpose3d", c=(4, 5), extents=(2, 3, 4), k=(3, 2, 3), s=2, p=(1, 0, 1), op_=(1, 0, 0), bias=1
    ),
    "3-D transposed, last": problem(
        "conv_transpose3d", n=2, c=(3, 4), extents=(2, 2, 3), k=(2, 3, 3), s=(1, 2, 2), p=1, **LAST, **HALF
    ),
    "depthwise transposed": problem(
        "conv_transpose1d", n=2, c=(6, 6), extents=13, k=4, s=2, p=1, groups=6, bias=1, **HALF
    ),
    "depthwise transposed, multiplier, last": problem(
        "conv_transpose2d", c=(3, 6), extents=(4, 3), k=3, s=2, p=1, op_=1, groups=3, **LAST
    ),
    "depthwise transposed 3-D": problem(
        "conv_transpose3d",
        c=(2, 2),
        extents=(3, 4, 6),
        k=(3, 4, 3),
        s=(2, 2, 3),
        p=(1, 2, 0),
        op_=(1, 0, 2),
        groups=2,
    ),
    "depthwise transposed with dilation": problem(
        "conv_transpose2d",
        n=2,
        c=(3, 3),
        extents=(5, 8),
        k=(3, 5),
        s=(2, 4),
        p=(1, 3),
        d=(3, 6),
        groups=3,
        bias=1,
    ),
    "depthwise transposed in vectors, last": problem(
        "conv_transpose2d",
        c=(8, 8),
        extents=(3, 8),
        k=(1, 3),
        s=(1, 2),
        p=(0, 1),
        op_=(0, 1),
        groups=8,
        **LAST,
        **BRAIN,
    ),
    "depthwise with too many residues to unroll": problem(
        "conv_transpose2d", c=(2, 2), extents=(2, 3), k=3, s=(9, 8), p=1, groups=2, bias=1
    ),
    "output padding beyond what the kernel reaches": problem(
        "conv_transpose1d", c=(2, 3), extents=3, k=1, s=4, op_=3, bias=1
    ),
    "shared rows": problem("conv_transpose2d", c=(8, 66), extents=(5, 6), k=3, p=1, bias=1),
    "shared rows, loaded in pairs": problem(
        "conv2d", n=2, c=(17, 9), extents=(5, 10), k=3, p=1, bias=1, **HALF
    ),
    "shared rows, last": problem(
        "conv2d", n=2, c=(16, 8), extents=(4, 9), k=(2, 3), p=(0, 2), bias=1, **HALF, **LAST
    ),
    "shared rows, deep and dilated": problem(
        "conv3d", c=(9, 7), extents=(4, 5, 4), k=(2, 3, 2), s=(2, 1, 1), d=(2, 1, 3), p=(1, 0, 2), **HALF
    ),
    "shared rows, transposed and deep, last": problem(
        "conv_transpose3d", n=2, c=(16, 5), extents=(4, 3, 5), k=(3, 2, 3), bias=1, **LAST
    ),
    "shared rows by groups": problem(
        "conv2d", n=2, c=(16, 12), extents=(9, 8), k=(3, 4), p=(2, 1), s=(2, 1), groups=2, bias=1
    ),
    "shared rows, cropped": problem("conv_transpose1d", n=2, c=(9, 20), extents=70, k=3, p=3, **HALF),
    "shared rows, dilated far": problem("conv_transpose1d", c=(9, 6), extents=30, k=5, p=2, d=3, **BRAIN),
    "residues joined": problem(
        "conv_transpose2d", n=2, c=(9, 10), extents=(3, 6), k=4, s=2, p=1, bias=1, **HALF
    ),
    "residues joined, three of four": problem(
        "conv_transpose2d", c=(9, 7), extents=(3, 8), k=(3, 5), s=(2, 3), p=1, op_=(1, 1), **HALF
    ),
    "residues by channels, last": problem(
        "conv_transpose3d", c=(9, 6), extents=(3, 3, 4), k=3, s=2, p=1, op_=1, bias=1, **LAST
    ),
    "neighbours together": problem(
        "conv2d", n=2, c=(3, 10), extents=(5, 23), k=(3, 7), p=(1, 3), bias=1, **HALF
    ),
    "neighbours together, strided": problem(
        "conv2d", c=(3, 18), extents=(11, 43), k=(5, 11), s=4, p=2, bias=1
    ),
    "neighbours together, last": problem("conv3d", c=(4, 20), extents=(3, 5, 12), k=3, p=1, **HALF, **LAST),
    "neighbours together, transposed by groups": problem(
        "conv_transpose2d", n=2, c=(4, 24), extents=(6, 13), k=(3, 5), p=(1, 3), groups=2, **BRAIN
    ),
    "empty batch": problem("conv2d", n=0, c=(3, 4), extents=5, k=3, bias=1),
}
