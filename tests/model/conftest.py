"""A layer of a captured suite, and records of it whose numbers can be summed by hand."""

import pytest

from tunedb.device import by_slug
from tunedb.suite import Entry

LAYER = Entry(
    "L1", 1, "conv_transpose2d", 16, 32, (64, 128), 64, (3, 3), (5, 5), (1, 1), (0, 0), (2, 2), 1, bias=False,
    dtype="float32", precision="tf32", layout="channels_first", calls=3, modules=("decoder.up.0",),
)  # fmt: skip


@pytest.fixture
def h200():
    return by_slug("h200")


@pytest.fixture
def layer():
    """What the fixture `record` is of, called three times by one module."""
    return LAYER


@pytest.fixture
def timed(record):
    """A record of the layer that is above its floor: 1000 us, torch 2000 us."""
    return record._replace(time_us=1000.0, aten_us=2000.0, floor_us=400.0)


@pytest.fixture
def far(layer):
    """A layer of the same class that no record is near to: 32 times the channels."""
    return layer._replace(id="L2", c_in=1024, c_out=2048, n=1, calls=2, modules=("decoder.far",))


@pytest.fixture
def mixed(shelf, fake_kernel, timed, layer, far):
    """Layers of every state, with names that a page must not believe; the records of them are on the shelf."""
    torch = layer._replace(id="L3", n=5, calls=1, modules=("<script>alert(1)</script>",))
    evil = far._replace(id='"><img src=x onerror=alert(2)>', modules=(), c_in=2048)
    shared = layer._replace(id="L4", n=12, calls=5, modules=("$a_b$ & co", "decoder.up.1", "\x07bell\u202e"))
    unknown = layer._replace(
        id="L5", op="conv2d", stride=(1, 1), dilation=(1, 1), modules=("encoder." + "block." * 12 + "conv",)
    )
    shelf.put(
        timed,
        timed._replace(problem=torch.problem(), kernel="aten", config="{}", kernel_hash="aten", time_us=700.0, aten_us=700.0),
    )  # fmt: skip
    return [layer, far, torch, evil, shared, unknown]
