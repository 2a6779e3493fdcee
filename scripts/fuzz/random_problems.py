"""Random problems, small and awkward, and torch's own test samples as problems."""

import random
from collections.abc import Iterator

from tunedb.errors import ProblemError
from tunedb.problem import OPS, Problem, checked, is_transposed, rank

__all__ = ["random_problem", "relative", "samples_of_torch"]

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 24, 32, 33, 48, 64, 65, 96, 128)
LONGEST = {1: 3000, 2: 90, 3: 24}  # extents by the number of axes
MOST = 4e8  # operations: the float64 reference is to take milliseconds
ELEMENTS = 4e6  # of any tensor


def random_problem(rng: random.Random) -> Problem:
    """Return a valid problem of any operation, dtype and layout."""
    while True:
        try:
            problem = checked(_drawn(rng))
        except ProblemError:
            continue
        if _is_small(problem):
            return problem


def relative(problem: Problem, rng: random.Random) -> Problem | None:
    """Return the same layer with another batch and other extents, or None where that is no problem."""
    extents = dict(zip(("in_d", "in_h", "in_w"), _extents(rng, problem.rank), strict=True))
    try:
        found = checked(problem._replace(n=rng.choice((1, 2, 3, 5)), **extents))
    except ProblemError:
        return None
    return found if _is_small(found) else None


def samples_of_torch() -> Iterator[Problem]:
    """Yield the problems of torch's own test samples (OpInfo) of the six operations, in all of tunedb's dtypes and layouts."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    from tunedb.dispatch.normalise import normalised
    from tunedb.problem import DTYPES

    for info in op_db:
        op = info.name.rpartition(".")[2]
        if op not in OPS or not info.name.startswith("nn.functional."):
            continue
        for sample in info.sample_inputs("cpu", torch.float32, requires_grad=False):
            weight, bias = (*sample.args, *sample.kwargs.pop("bias", [None]))[:2] if len(sample.args) == 1 else sample.args[:2]  # fmt: skip
            given = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
            names = ("stride", "padding", "output_padding", "groups", "dilation") if is_transposed(op) else ("stride", "padding", "dilation", "groups")  # fmt: skip
            given |= dict(zip(names, sample.args[2:], strict=False)) | sample.kwargs
            call = normalised(op, sample.input, weight, bias, *given.values())
            if isinstance(call, str):
                continue
            for dtype in DTYPES:
                precisions = ("ieee", "tf32") if dtype == "float32" else ("ieee",)
                for precision in precisions:
                    for layout in ("channels_first", "channels_last"):
                        yield call.problem._replace(dtype=dtype, precision=precision, layout=layout)


def _drawn(rng: random.Random) -> Problem:
    op = rng.choice(OPS)
    axes = rank(op)
    dtype = rng.choice(("float16", "bfloat16", "float32"))
    groups, c_in, c_out = _channels(rng)
    kernel = _axes(rng, axes, (1, 1, 2, 3, 3, 4, 5, 7, 11) if axes < 3 else (1, 2, 3, 3, 4))
    stride = _axes(rng, axes, (1, 1, 1, 2, 2, 3, 4, 8))
    dilation = _axes(rng, axes, (1, 1, 1, 2, 3))
    padding = tuple(rng.choice((0, k // 2, k - 1, d * (k - 1) // 2, rng.randrange(0, d * k + 1))) for k, d in zip(kernel, dilation, strict=True))  # fmt: skip
    output_padding = (0, 0, 0)
    if is_transposed(op) and rng.random() < 0.5:
        output_padding = tuple(rng.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True))  # type: ignore[assignment]
        output_padding = (0,) * (3 - axes) + output_padding[3 - axes :]
    padding = (0,) * (3 - axes) + padding[3 - axes :]
    return Problem(
        op, dtype, rng.choice(("ieee", "tf32")) if dtype == "float32" else "ieee",
        rng.choice(("channels_first", "channels_first", "channels_last")),
        rng.choice((1, 1, 2, 3, 5)), c_in, c_out, groups, rng.randrange(2),
        *_extents(rng, axes), *kernel, *stride, *padding, *output_padding, *dilation,
    )  # fmt: skip


def _channels(rng: random.Random) -> tuple[int, int, int]:
    kind = rng.random()
    if kind < 0.6:
        return 1, rng.choice(CHANNELS), rng.choice(CHANNELS)
    if kind < 0.8:  # depthwise, perhaps with a multiplier
        groups = rng.choice(CHANNELS)
        return groups, groups, groups * rng.choice((1, 1, 1, 2, 3))
    groups = rng.choice((2, 3, 4, 8))
    return groups, groups * rng.choice(CHANNELS[:12]), groups * rng.choice(CHANNELS[:12])


def _axes(rng: random.Random, axes: int, choices: tuple[int, ...]) -> tuple[int, ...]:
    if rng.random() < 0.5:
        return (1,) * (3 - axes) + (rng.choice(choices),) * axes
    return (1,) * (3 - axes) + tuple(rng.choice(choices) for _ in range(axes))


def _extents(rng: random.Random, axes: int) -> tuple[int, ...]:
    longest = LONGEST[axes]
    found = tuple(
        rng.choice(
            (rng.randrange(1, 9), 8 * rng.randrange(1, max(2, longest // 8)), rng.randrange(1, longest))
        )
        for _ in range(axes)
    )
    return (1,) * (3 - axes) + found


def _is_small(problem: Problem) -> bool:
    sizes = []
    for shape in (problem.input_shape, problem.weight_shape, problem.output_shape):
        size = 1
        for extent in shape:
            size *= extent
        sizes.append(size)
    return problem.flops <= MOST and max(sizes) <= ELEMENTS
