"""A card's predicted file from another's candidates."""

import json

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.record import Choice, Measurement, Tried
from tunedb.store.read import Database
from tunedb.store.write import Store

pytest.importorskip("triton")


def test_a_card_gets_the_candidates_that_fit(scripts, tmp_path, monkeypatch, record, fake_kernel, capsys):
    """Each is compiled for the card and judged there; what does not fit is left, and the record says what it rests on."""
    module = scripts("predict_card")
    texts = ['{"BLOCK":32,"ORDER":"n"}', '{"BLOCK":64,"ORDER":"n"}', '{"BLOCK":96,"ORDER":"n"}']
    compiled = dict(zip(texts, (Measurement("ok"), Measurement("ok"), Measurement("spilled")), strict=True))
    times = {texts[0]: Measurement("ok", 10.0, 7.0, 13.0), texts[1]: Measurement("ok", 11.0, 10.0, 12.0, detail="by proxy on h100-sm89, which takes 4 us")}  # fmt: skip
    monkeypatch.setattr(
        module, "compiled", lambda tasks, *_: ((one, compiled[one.choice.config]) for one in tasks)
    )
    monkeypatch.setattr(module, "ranks", lambda *_: True)
    monkeypatch.setattr(module, "timed", lambda *_: {})
    monkeypatch.setattr(module.kernel, "load", lambda name: name)
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


def test_what_proxies_timed_is_a_candidate_too(scripts, tmp_path, record, monkeypatch, fake_kernel):
    """The best that a proxy timed stand beside those of the source; torch's kernel, and what the card's model cannot rank, do not."""
    module = scripts("predict_card")
    with Store(tmp_path / "one.sqlite") as store:
        store.put(record, [])
    proxied = dict.fromkeys([Choice("packed", f"{number}") for number in range(6)] + [Choice("cudnn_last", "{}")])  # fmt: skip
    monkeypatch.setattr(module, "timed", lambda *_: proxied)
    monkeypatch.setattr(module.kernel, "load", lambda name: name)
    monkeypatch.setattr(module, "ranks", lambda name, _: name != "cudnn_last")
    found = module.choices(record, Database(tmp_path / "one.sqlite"), by_slug("l4"))
    assert found == [Choice(record.kernel, record.config), *list(proxied)[: module.PROXIED]]


def test_what_the_source_says_of_the_same_machine_code_is_not_compiled_again(
    scripts, tmp_path, record, monkeypatch
):
    """Registers and spills for a GPU of the same compute capability stand; another one's, another code's and unknown ones are read off anew."""
    module = scripts("predict_card")
    needs = Measurement("ok", 5.0, 4.0, 6.0, shared=1024, registers=96, spills=8, detail="by proxy")
    given = record._replace(device="4090", kernel_hash="now")
    with Store(tmp_path / "one.sqlite") as store:
        store.put(given, [Tried("packed", "a", needs), Tried("packed", "b", Measurement("ok", 5.0))])
    source = Database(tmp_path / "one.sqlite")
    monkeypatch.setattr(module.kernel, "is_stale", lambda _, code: code != "now")
    proxied = {Choice("packed", "a"): None, Choice("packed", "b"): None}
    monkeypatch.setattr(module, "timed", lambda *_: proxied)

    def said(config, slug="4090", record=given):
        return module.said(module.Task(record, Choice("packed", config)), source, by_slug(slug))

    assert said("a") == Measurement("ok", shared=1024, registers=96, spills=8)
    assert said("b") is None
    assert said("a", "l4") == said("a")
    assert said("a", "3090") is None
    assert said("a", record=given._replace(kernel_hash="old")) is None
    proxied.clear()  # the time model must be asked, which wants the instructions
    assert said("a") is None
