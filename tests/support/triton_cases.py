"""Kernels to launch, and the one warning that a missing private name of Triton gives."""

import warnings

from awkward import problem
from tunedb.kernels.shared.split_sum import split_sum_signature

from tunedb.device import by_slug
from tunedb.errors import TunedbWarning
from tunedb.kernel import load


def only_warning(given):
    """Return the text of the one warning that was given."""
    assert [one.category for one in given] == [TunedbWarning], [str(one.message) for one in given]
    return str(given[0].message)


def twice(call):
    """Call twice and return the answers and the one warning."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        answers = call(), call()
    return answers, only_warning(given)


def signature(kind="triton", n=1):
    """A launch of a kernel: one has extents of 1, one is written in Gluon, one has no weight."""
    if kind == "gluon":
        asked = problem("conv2d", n=n, c=(32, 64), extents=(1, 40), k=(1, 3), p=(0, 1), layout="channels_first", dtype="float16", precision="ieee", bias=1)  # fmt: skip
        module = load("shared_rows")
        return module.signature(asked, module.default(asked, by_slug("h200")))
    asked = problem("conv2d", n=n, c=(16, 16), extents=(1, 24), k=(1, 3), bias=1)
    if kind == "no weight":
        return split_sum_signature(asked, 2)
    module = load("implicit_gemm")
    return module.signature(asked, module.default(asked, by_slug("h200")))
