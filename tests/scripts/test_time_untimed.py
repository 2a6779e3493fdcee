"""Answers for unswept problems, timed beside torch: what is asked for, what is written, and how a table takes it."""

import json

import pytest
from awkward import problem

from tunedb.device import by_slug
from tunedb.record import Measurement
from tunedb.tune.gpu_process import PrepareError

ASKED = problem("conv2d", c=(8, 16), extents=(9, 9), k=3, dtype="float16")
OTHER = ASKED._replace(n=2)


class Runner:
    """A GPU process of which a test says what it gives."""

    def __init__(self, *_, **__):
        self.closed = False

    def prepare(self, asked):
        if asked == OTHER:
            raise PrepareError("failed", "too large")

    def final(self, candidates):
        return [Measurement("ok", 20.0), *(Measurement("ok" if config == "a" else "wrong", 5.0 if config == "a" else None) for _, config in candidates)]  # fmt: skip

    def close(self):
        self.closed = True


@pytest.fixture
def played(scripts, monkeypatch, tmp_path):
    """The script on a machine whose GPU and compiler are played; returns it and its two files."""
    module = scripts("time_untimed")

    def compiled_ahead(asked, _):
        for one, choices in asked.items():
            yield (
                one,
                {choice: Measurement("spilled" if choice.config == "c" else "ok") for choice in choices},
            )

    monkeypatch.setattr(module, "current", lambda _: by_slug("h100"))
    monkeypatch.setattr(module, "Runner", Runner)
    monkeypatch.setattr(module, "compiled_ahead", compiled_ahead)
    lines = [("h100", ASKED, "a"), ("h100", ASKED, "b"), ("h100", ASKED, "c"), ("h100", OTHER, "a"), ("h200", ASKED, "a")]  # fmt: skip
    untimed = tmp_path / "untimed.jsonl"
    untimed.write_text("".join(json.dumps({"device": slug, "problem": one._asdict(), "kernel": "direct", "config": config}) + "\n" for slug, one, config in lines))  # fmt: skip
    return module, untimed, tmp_path / "timed.jsonl"


def test_each_config_of_this_gpu_is_timed_once(played, capsys, scripts):
    """Those of another device are left out, a problem that does not fit is passed over, a wrong one is a failure; a second run goes on."""
    module, untimed, out = played
    assert module.main([str(untimed), "--out", str(out)]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == {
        "device": "h100",
        "left": 1,
        "ok": 1,
        "wrong": 1,
        "spilled": 1,
        "problems": 1,
        "unprepared": 1,
    }
    (found,) = scripts("trials.timed").read(out)
    assert (found.device, found.problem, found.torch_us) == ("h100", ASKED, 20.0)
    assert [(choice.config, one.status, one.time_us) for choice, one in found.results] == [("a", "ok", 5.0), ("b", "wrong", None), ("c", "spilled", None)]  # fmt: skip
    assert module.main([str(untimed), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["left"] == 1


def test_the_time_is_kept_for_the_table(played, scripts, capsys):
    """Torch's time and each config, with the models that have the layer."""
    module, untimed, out = played
    module.main([str(untimed), "--out", str(out)])
    rows = list(scripts("trials.timed").rows(out, lambda one: ("resnet",) if one == ASKED else ()))
    assert [(row.kernel, row.config, row.status, row.time_us, row.aten_us, row.models) for row in rows] == [
        ("aten", "{}", "ok", 20.0, 20.0, ("resnet",)),
        ("direct", "a", "ok", 5.0, 20.0, ("resnet",)),
        ("direct", "b", "wrong", None, 20.0, ("resnet",)),
        ("direct", "c", "spilled", None, 20.0, ("resnet",)),
    ]


def test_nothing_begins_after_the_minutes(played, capsys):
    """What is left is said."""
    module, untimed, out = played
    assert module.main([str(untimed), "--out", str(out), "--minutes", "0"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"device": "h100", "left": 2}


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("timm/tf_efficientnetv2_s", "efficientnetv"), ("timm/resnet50d", "resnet"), ("smp/Unet/se_resnet50", "resnet"),
        ("torchvision/wide_resnet50_2", "resnet"), ("diffusers/unet_sd15", "unet"), ("monai/3d", "3d"),
    ],
)  # fmt: skip
def test_variants_are_one_network(scripts, name, network):
    """Sizes, makers and changed blocks do not make another network of it."""
    assert scripts("trials.models").network(name) == network
