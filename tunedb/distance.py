"""How far apart two problems are: what decides whether one may borrow the other's answer."""

from operator import itemgetter, ne

from tunedb.problem import Problem

__all__ = [
    "CLASS_LIMIT",
    "LAYER",
    "LAYER_LIMIT",
    "between_layers",
    "between_neighbours",
    "difference",
    "differing",
    "kind",
    "least_between_neighbours",
]

LAYER_LIMIT = 2.0  # 4 times the work in one step, or 2 times the work on rows 2 times as long
# Beyond 16 times in all, a win somewhere says too little about here: docs/experiments.md, sixth round.
CLASS_LIMIT = 4.0

_FREE = (
    "n", "in_d", "in_h", "in_w", "padding_d", "padding_h", "padding_w",
    "output_padding_d", "output_padding_h", "output_padding_w", "bias",
)  # fmt: skip
_free = itemgetter(*(Problem._fields.index(name) for name in _FREE))
# What two problems of one layer share.
LAYER = tuple(name for name in Problem._fields if name not in _FREE)


def between_layers(a: Problem, b: Problem) -> float:
    """Return the distance of two problems of the same layer, in doublings.

    |log2(n·positions of a / n·positions of b)| + |log2(in_w of a / in_w of b)|, where positions are the
    output elements of one channel: twice the work is 1, the same work on rows of half the length is 1 too.
    Padding and bias count only by what they change of the output.
    """
    work, width = a.doublings
    other_work, other_width = b.doublings
    return abs(work - other_work) + abs(width - other_width)


def between_neighbours(a: Problem, b: Problem) -> float:
    """Return the distance of two problems of the same class, in doublings.

    between_layers, plus |log2| of the ratios of c_in/groups, c_out/groups, groups, strides and dilations, and twice that of
    kernel elements: a config knows how many taps it has.
    """
    return _with_sizes(between_layers(a, b), a, b)


def least_between_neighbours(a: Problem, b: Problem) -> float:
    """Return the least between_neighbours that problems of the layers of `a` and `b` can have, whatever batch and extents."""
    return _with_sizes(0.0, a, b)


def _with_sizes(total: float, a: Problem, b: Problem) -> float:
    both = zip(a.layer_doublings, b.layer_doublings, strict=True)
    c_in, c_out, taps, *steps = (abs(one - other) for one, other in both)
    return total + c_in + c_out + 2 * taps + sum(steps)


def kind(problem: Problem) -> tuple[bool, str]:
    """Return what separates classes of one op, dtype, precision and layout: strided or not, and the grouping."""
    if problem.groups == 1:
        grouping = "dense"
    else:
        grouping = "depthwise" if problem.groups == problem.c_in else "grouped"
    return (max(problem.stride) > 1, grouping)


def difference(asked: Problem, known: Problem) -> list[str]:
    """Return what differs between two problems of the same layer, in words: "n 16 instead of 1"."""
    return [
        f"{name} {theirs} instead of {ours}"
        for name, ours, theirs in zip(_FREE, _free(asked), _free(known), strict=True)
        if theirs != ours
    ]


def differing(asked: Problem, known: Problem) -> int:
    """Return how many words `difference` would give."""
    return sum(map(ne, _free(asked), _free(known)))
