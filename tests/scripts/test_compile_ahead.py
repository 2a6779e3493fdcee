"""The script that compiles what a sweep will try first."""

import json

from awkward import problem

from tunedb.device import by_slug
from tunedb.kernel import load
from tunedb.model.layers import Layers, entry_of

ASKED = problem("conv1d", c=(8, 16), extents=(64,), k=3, dtype="float16")


def test_the_first_choices_are_a_sweeps(scripts, shelf):
    """Each kernel's default is among them, none twice, and no more than the sweep's trials."""
    module = scripts("compile_ahead")
    found = list(module.first_choices([ASKED], by_slug("h100"), 12))
    assert 2 <= len(found) <= 12
    assert len(set(found)) == len(found)
    kernel = load("implicit_gemm")
    default = kernel.default(ASKED, by_slug("h100"))
    assert default in {kernel.Config(**json.loads(choice.config)) for _, choice in found if choice.kernel == "implicit_gemm"}  # fmt: skip


def test_what_was_compiled_is_counted(scripts, shelf, tmp_path, monkeypatch, capsys):
    """A suite's problem is compiled for real, on one process, and the last line counts the outcomes."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    layers = Layers()
    layers.entries = (entry_of(ASKED, "one"),)
    layers.save(tmp_path / "suite.json")
    module = scripts("compile_ahead")
    assert (
        module.main([str(tmp_path / "suite.json"), "--device", "h100", "--trials", "2", "--jobs", "1"]) == 0
    )
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["problems"] == 1
    assert (
        said["candidates"] == sum(said[name] for name in said if name not in {"problems", "candidates"}) >= 1
    )
    assert list((tmp_path / "cache").glob("*/*.cubin"))
