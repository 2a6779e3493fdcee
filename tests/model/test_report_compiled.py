"""What a report expects of a compiled model: torch's time without its pass for the bias."""

import pytest

from tunedb.dispatch.fused import bias_us
from tunedb.model.layers import as_compiled
from tunedb.model.report import report


@pytest.fixture
def biased(layer, timed):
    """A layer with a bias in channels_last, and a function that gives its record other times."""
    entry = layer._replace(layout="channels_last", bias=True)
    return entry, lambda **times: timed._replace(problem=entry.problem(), **times)


def only(entry, device):
    (row,) = report([entry], device, compiled=True).rows
    return row


def test_a_layer_that_still_wins(shelf, fake_kernel, biased, h200):
    """It saves less by the pass for the bias in each of its calls."""
    entry, record = biased
    shelf.put(record())
    bias = bias_us(entry.problem(), h200)
    assert bias > 100
    row = only(entry, h200)
    assert (row.state, row.kernel, row.tunedb_us) == ("answered", "fake", 1000.0)
    assert row.torch_us == pytest.approx(2000 - bias)
    assert row.saved_pass_us == pytest.approx(3 * (1000 - bias))


def test_a_win_by_the_bias_alone(shelf, fake_kernel, biased, h200):
    """The compiled model runs torch's own kernel there, and the report says why."""
    entry, record = biased
    shelf.put(record(aten_us=1050.0))
    row = only(entry, h200)
    assert (row.state, row.kernel, row.saved_pass_us) == ("torch", "aten", 0.0)
    assert row.torch_us == row.tunedb_us < 1000
    assert "without its pass for the bias" in row.why


def test_a_layer_of_torchs(shelf, fake_kernel, biased, h200):
    """Its time is torch's, without the pass."""
    entry, record = biased
    shelf.put(record(kernel="aten", config="{}", kernel_hash="aten", time_us=2000.0))
    row = only(entry, h200)
    assert (row.state, row.saved_pass_us) == ("torch", 0.0)
    assert row.torch_us == row.tunedb_us == pytest.approx(2000 - bias_us(entry.problem(), h200))


def test_nothing_is_known_of_an_unswept_layer(shelf, layer, h200):
    """It stays what it is."""
    row = only(layer, h200)
    assert (row.state, row.torch_us, row.saved_pass_us) == ("unswept", None, None)


def test_entries_keep_their_ids(layer):
    """One entry stands for both layouts of a problem, under the first id, with the calls and modules of both."""
    last = layer._replace(id="L2", layout="channels_last", calls=4, modules=("decoder.up.1", "decoder.up.0"))
    flat = layer._replace(id="L3", op="conv1d", spatial_in=(64,), kernel=(3,), stride=(1,), padding=(1,), output_padding=(0,), dilation=(1,))  # fmt: skip
    first, other = as_compiled([layer, flat, last])
    assert (first.id, first.layout, first.calls) == ("L1", "channels_last", 7)
    assert first.modules == ("decoder.up.0", "decoder.up.1")
    assert other == flat
