"""The numbers of a report, by hand: what is saved, who answers, what times rest on, and what is only estimated."""

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.model.report import report, variant


def only(entries, device):
    (row,) = report(entries, device).rows
    return row


def aten(record, us):
    return record._replace(kernel="aten", config="{}", kernel_hash="aten", time_us=us, aten_us=us)


def test_an_answered_layer(shelf, fake_kernel, timed, layer, h200):
    """Three calls of 2000 us in torch and 1000 us here save 3000 us a pass, on a measured record."""
    shelf.put(timed)
    found = report([layer], h200, title="mine", date="2026-11-26")
    (row,) = found.rows
    assert (row.state, row.tier, row.kernel) == ("answered", "exact", "fake")
    assert (row.torch_us, row.tunedb_us, row.saved_pass_us) == (2000.0, 1000.0, 3000.0)
    assert (row.torch_pass_us, row.tunedb_pass_us) == (6000.0, 3000.0)
    assert (row.rests_on, row.provenance, row.record_device) == ("measured", "measured", "h200")
    assert row.floor_us == floor_us(layer.problem(), h200)
    assert row.estimated_torch_pass_us is row.estimated_saved_pass_us is None
    assert row.name == "decoder.up.0"
    total = found.totals
    assert (total.layers, total.calls, total.answered, total.torch, total.unswept) == (1, 3, 1, 0, 0)
    assert (total.torch_us, total.tunedb_us, total.saved_us, total.speedup) == (6000.0, 3000.0, 3000.0, 2.0)
    assert total.rests_on == {"measured": 1.0, "proxy": 0.0, "borrowed": 0.0, "predicted": 0.0}
    assert found.versions == ("triton 3.7.1, torch 2.13.0, cuDNN 9.19, driver 580.1",)
    assert (found.title, found.date) == ("mine", "2026-11-26")


def test_whether_the_device_is_here(shelf, h200, monkeypatch):
    """A GPU that this machine has is here, also where it runs older code; another one is not."""
    from tunedb import device

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(device, "current", lambda index: by_slug(("4090", "h200")[index]))
    assert [report([], by_slug(slug)).here for slug in ("h200", "h200-sm89", "h100")] == [True, True, False]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not report([], h200).here


def test_a_layer_left_to_torch(shelf, fake_kernel, timed, layer, h200):
    """Where torch's own kernel won, its time is both times and nothing is saved."""
    shelf.put(aten(timed, 700.0))
    row = only([layer], h200)
    assert (row.state, row.kernel) == ("torch", "aten")
    assert (row.torch_us, row.tunedb_us, row.saved_pass_us) == (700.0, 700.0, 0.0)
    assert report([layer], h200).totals.speedup == 1.0


@pytest.mark.parametrize("kernel", ["fake", "aten"])
def test_a_prediction_is_no_measurement(shelf, fake_kernel, timed, layer, h200, kernel):
    """A predicted record leaves a layer unswept: nothing is saved, and its time counts as predicted only."""
    predicted = timed._replace(provenance="predicted", aten_us=None, error=None, aten_error=None)
    if kernel == "aten":
        predicted = predicted._replace(kernel="aten", config="{}", kernel_hash="aten")
    shelf.put(predicted)
    found = report([layer], h200)
    (row,) = found.rows
    assert (row.state, row.torch_us, row.tunedb_us, row.saved_pass_us) == ("unswept", None, 1000.0, None)
    assert (row.rests_on, row.provenance) == ("predicted", "predicted")
    assert (found.totals.torch_us, found.totals.saved_us, found.totals.speedup) == (0.0, 0.0, None)
    assert found.totals.rests_on == {"measured": 0.0, "proxy": 0.0, "borrowed": 0.0, "predicted": 1.0}
    assert found.totals.not_estimated == 1


def test_shares_are_of_the_expected_time(shelf, fake_kernel, timed, layer, h200):
    """3 calls of 1000 us measured and 3 calls of 500 us borrowed are two thirds and one third."""
    shelf.put(timed)
    shares = report([layer, layer._replace(n=8)], h200).totals.rests_on
    assert shares["measured"] == pytest.approx(2 / 3)
    assert shares["borrowed"] == pytest.approx(1 / 3)


def test_a_borrowed_record_is_scaled(shelf, fake_kernel, timed, layer, h200):
    """Half the batch of a near record takes half of both its times, and the layer says that it borrows."""
    shelf.put(timed)
    row = only([layer._replace(n=8)], h200)
    assert (row.state, row.tier, row.rests_on) == ("answered", "near", "borrowed")
    assert (row.torch_us, row.tunedb_us, row.saved_pass_us) == (1000.0, 500.0, 1500.0)


def test_a_borrowed_time_is_not_below_the_floor(shelf, fake_kernel, record, layer, h200):
    """Scaled times below the floor are the floor, for torch as for the answer: nothing is promised there."""
    shelf.put(record._replace(time_us=2.0, aten_us=4.0))
    row = only([layer._replace(n=8)], h200)
    assert row.torch_us == row.tunedb_us == row.floor_us
    assert row.saved_pass_us == 0.0


def test_another_devices_record_is_borrowed(shelf, fake_kernel, timed, layer):
    """An H200's record answers an H100 in its own times, and is named as the H200's."""
    shelf.put(timed)
    found = report([layer], by_slug("h100"))
    (row,) = found.rows
    assert (row.tier, row.rests_on) == ("other-device", "borrowed")
    assert (row.provenance, row.record_device) == ("measured", "h200")
    assert (row.torch_us, row.tunedb_us) == (2000.0, 1000.0)
    assert found.totals.rests_on["borrowed"] == 1.0


def test_float16s_record_for_bfloat16_is_borrowed(shelf, fake_kernel, timed, layer, h200):
    """bfloat16 by float16's record is no measurement of bfloat16."""
    half = layer._replace(dtype="float16", precision="ieee")
    shelf.put(timed._replace(problem=half.problem()))
    row = only([half._replace(dtype="bfloat16")], h200)
    assert (row.state, row.rests_on, row.torch_us, row.tunedb_us) == ("answered", "borrowed", 2000.0, 1000.0)


def test_a_proxy_is_named(shelf, fake_kernel, timed, layer, h200):
    """A record by proxy is called that, and promises nothing: torch's time is expected only."""
    shelf.put(timed._replace(provenance="proxy"))
    row = only([layer], h200)
    assert (row.state, row.rests_on, row.saved_pass_us) == ("unswept", "proxy", None)


def test_a_loss_is_said(shelf, fake_kernel, timed, layer, h200):
    """A record that is slower than torch, as a file of Triton's answers may hold, shows a loss."""
    shelf.put(timed._replace(aten_us=900.0))
    assert only([layer], h200).saved_pass_us == -300.0


def test_an_unswept_layer_is_estimated(shelf, fake_kernel, timed, layer, far, h200):
    """The estimate is calls x floor x the medians over the floor: torch's (5 + 9) / 2, the best's (2.5 + 3.5) / 2."""
    other = timed._replace(problem=layer._replace(n=12).problem(), time_us=1400.0, aten_us=3600.0)
    shelf.put(timed, other)
    found = report([layer, far], h200)
    row = found.rows[1]
    assert (row.state, row.rests_on) == ("unswept", "")
    assert row.torch_us is row.tunedb_us is row.saved_pass_us is None
    assert row.estimated_torch_pass_us == pytest.approx(2 * 7 * row.floor_us)
    assert row.estimated_saved_pass_us == pytest.approx(2 * 4 * row.floor_us)
    assert (
        row.estimate_from
        == "the median of 2 measured records of conv_transpose2d float32 channels_first on h200"
    )
    assert (found.totals.unswept, found.totals.not_estimated) == (1, 0)
    assert found.totals.saved_us == 3000.0  # an estimate is not among what is saved
    assert found.totals.estimated_saved_us == row.estimated_saved_pass_us


def test_estimates_leave_out_what_says_nothing(shelf, fake_kernel, timed, far, h200):
    """Stale records and those without torch's time give no estimate: it is unknown."""
    for useless in (timed._replace(kernel_hash="old"), timed._replace(aten_us=None)):
        shelf.user.unlink(missing_ok=True)
        shelf.put(useless)
        found = report([far], h200)
        assert found.rows[0].estimated_torch_pass_us is found.rows[0].estimated_saved_pass_us is None
        assert found.totals.not_estimated == 1


def test_estimates_prefer_the_device_and_take_float16_for_bfloat16(
    shelf, fake_kernel, timed, layer, far, h200
):
    """An estimate for bfloat16 is from float16's records; from another device's where this one has none, and it says so."""
    half = layer._replace(dtype="float16", precision="ieee")
    there = timed._replace(problem=half.problem(), device="4090")
    shelf.put(there)
    brain = far._replace(dtype="bfloat16", precision="ieee")
    assert only([brain], h200).estimate_from.endswith(
        "1 measured records of conv_transpose2d float16 channels_first on 4090"
    )
    shelf.put(there._replace(device="h200", aten_us=4000.0))
    row = only([brain], h200)
    assert row.estimate_from.endswith("on h200")
    assert row.estimated_torch_pass_us == pytest.approx(2 * 10 * row.floor_us)


def test_the_name_of_a_layer(shelf, fake_kernel, timed, layer, h200):
    """A layer of several modules has the name of the first and the number of the others; without modules it has its id."""
    shelf.put(timed)
    rows = report([layer._replace(modules=("a", "b", "c")), layer._replace(id="L9", modules=())], h200).rows
    assert [row.name for row in rows] == ["a +2", "L9"]


def test_nothing_at_all(shelf, h200):
    """An empty suite is an empty report."""
    found = report([], h200)
    assert (found.rows, found.versions) == ((), ())
    assert (found.totals.layers, found.totals.speedup, found.totals.torch_us) == (0, None, 0.0)
    assert set(found.totals.rests_on.values()) == {0.0}


def test_variant_fills_in_what_an_entry_does_not_say(layer):
    """What an entry says itself stays; 16-bit types are ieee, and one dimension has no channels_last."""
    silent = layer._replace(dtype=None, precision=None, layout=None)
    line = silent._replace(
        op="conv1d", spatial_in=(64,), kernel=(3,), stride=(1,), padding=(0,), output_padding=(0,), dilation=(1,)
    )  # fmt: skip
    found = variant([layer, silent, line], "float16", "tf32", "channels_last")
    assert [(one.dtype, one.precision, one.layout) for one in found] == [
        ("float32", "tf32", "channels_first"),
        ("float16", "ieee", "channels_last"),
        ("float16", "ieee", "channels_first"),
    ]
    assert variant([silent], "float32", "tf32", "channels_last")[0].precision == "tf32"
