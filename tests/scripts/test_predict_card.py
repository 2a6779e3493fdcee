"""A card's predicted file from another's candidates."""

import json

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.record import Measurement, Tried
from tunedb.store.read import Database
from tunedb.store.write import Store

pytest.importorskip("triton")


def test_a_card_gets_the_candidates_that_fit(scripts, tmp_path, monkeypatch, record, fake_kernel, capsys):
    """Each is compiled for the card and judged there; what does not fit is left, and the record says what it rests on."""
    module = scripts("predict_card")
    texts = ['{"BLOCK":32,"ORDER":"n"}', '{"BLOCK":64,"ORDER":"n"}', '{"BLOCK":96,"ORDER":"n"}']
    compiled = dict(zip(texts, (Measurement("ok"), Measurement("ok"), Measurement("spilled")), strict=True))
    times = {texts[0]: Measurement("ok", 10.0, 7.0, 13.0), texts[1]: Measurement("ok", 11.0, 10.0, 12.0, detail="by proxy on h100-sm89, which takes 4 us")}  # fmt: skip
    monkeypatch.setattr(module, "compile_candidate", lambda _, __, config, *___: compiled[config])
    monkeypatch.setattr(module, "expected", lambda _, __, config, *___: times[config])
    monkeypatch.setattr(module, "torch_us", lambda *_: 33.0)
    monkeypatch.setattr(module.kernel, "source_hash", lambda _: "new")
    source = tmp_path / "4090.sqlite"
    with Store(source) as store:
        store.put(
            record._replace(device="4090", config=texts[0]),
            [Tried("fake", text, Measurement("ok", 5.0)) for text in texts],
        )
    out = tmp_path / "l4.sqlite"
    assert module.main(["--device", "l4", "--of", str(source), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == {"device": "l4", "ok": 2, "spilled": 1, "records": 1}
    (found,) = Database(out).records()
    assert (found.device, found.config, found.provenance, found.time_us, found.aten_us) == (
        "l4",
        texts[1],
        "proxy",
        11.0,
        33.0,
    )
    assert found.floor_us == pytest.approx(floor_us(record.problem, by_slug("l4")))
    assert [one.config for one in Database(out).top(record.problem, "l4")] == texts[:2]
