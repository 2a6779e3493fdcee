"""The script that says where the time of a real model goes."""

import json

import pytest
import torch


@pytest.fixture
def script(scripts, monkeypatch):
    """The script, which leaves the databases of this process as they are."""
    module = scripts("profile_model")
    monkeypatch.setattr(module, "answered_by", lambda *_: None)
    benchmark = torch.backends.cudnn.benchmark
    yield module
    torch.backends.cudnn.benchmark = benchmark


def test_both_sides_are_profiled(script, capsys, tmp_path):
    """The operators of a tiny model on the CPU; the file has every one of them."""
    path = tmp_path / "profile.json"
    assert script.main(["--model", "tiny_image", "--fake", "--dtype", "float32", "--json", str(path)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])["tiny_image"]
    found = json.loads(path.read_text())["tiny_image"]
    assert 0 < said["torch_us"] == found["torch_us"]
    launches = {name: (torchs, tunedbs) for name, torchs, _, tunedbs, _ in found["kernels"]}
    assert launches["aten::conv2d"][0] == launches["aten::conv2d"][1] > 0


def test_what_differs_most_comes_first(script):
    """A kernel that one side lacks counts whole."""
    spent = script.Spent
    torchs = {"conv": spent(2.0, 50.0), "norm": spent(1.0, 10.0)}
    figures = script.compared(torchs, {"norm": spent(1.0, 14.0), "ours": spent(2.0, 20.0)}, 30.0)
    assert figures == {
        "torch_us": 60.0, "tunedb_us": 34.0, "promised_us": 30.0,
        "kernels": [["conv", 2.0, 50.0, 0.0, 0.0], ["ours", 0.0, 0.0, 2.0, 20.0], ["norm", 1.0, 10.0, 1.0, 14.0]],
    }  # fmt: skip
    assert "promised 30 us, arrived 26 us" in script.said(figures)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("void at::native::vectorized_elementwise_kernel<4, at::native::Add>(int)", "at::native::vectorized_elementwise_kernel"),
        ("shared_rows", "shared_rows"),
        ("cudnn::bn_fw(float*)", "cudnn::bn_fw"),
    ],
)  # fmt: skip
def test_names_are_cut_where_templates_begin(script, name, short):
    """One kernel of many variants is one row."""
    assert script.short(name) == short
