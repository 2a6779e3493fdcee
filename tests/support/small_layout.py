"""A layout of a weight of 3 x 4: transposed, with two columns of zeros."""

import torch

from tunedb.weights.layout import Coordinate, Layout, affine, level

LAYOUT = Layout((3, 4), (level(4, c=4), level(5, r=3)), (Coordinate(affine(r=1), 3, 0), Coordinate(affine(c=1), 4, 1)))  # fmt: skip
OTHER = LAYOUT._replace(levels=LAYOUT.levels[::-1])


def drawn(seed=0):
    """Return a seeded parameter of that shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(3, 4, generator=generator), requires_grad=False)


def same_bits(one, other):
    """Whether two tensors have one shape and dtype and the same bytes."""
    whole = torch.int16 if one.dtype.itemsize == 2 else torch.int32
    return (one.shape, one.dtype) == (other.shape, other.dtype) and torch.equal(one.contiguous().view(whole), other.contiguous().view(whole))  # fmt: skip
