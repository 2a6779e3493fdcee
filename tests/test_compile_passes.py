"""Compilation of all that a plan launches, ahead of the process that uses the GPU."""

from types import SimpleNamespace

import pytest

pytest.importorskip("triton")

from awkward import problem

from tunedb import compile as compile_
from tunedb.device import by_slug
from tunedb.kernel import config_to_json, load


@pytest.mark.parametrize(
    ("name", "change", "count"),
    [("packed", {}, 2), ("cudnn_last", {}, 2), ("implicit_gemm", {}, 1), ("implicit_gemm", {"SPLIT": 4}, 2), ("direct", {}, 1)],
)  # fmt: skip
def test_all_that_a_plan_launches_is_compiled_ahead(monkeypatch, name, change, count):
    """The passes beside the main kernel too: the process that uses the GPU finds all of it in the cache."""
    module, device = load(name), by_slug("h200")
    asked = problem("conv2d", c=(32, 32), extents=(16, 16), k=3, p=1, dtype="float16", bias=1)
    config = module.default(asked, device)._replace(**change)
    made = []
    monkeypatch.setattr(compile_, "compiled", lambda signature, _: made.append(signature.fn.__name__))
    monkeypatch.setattr(compile_, "resources", lambda _: compile_.Resources(0, 0, 0))
    assert compile_.compile_candidate(name, asked, config_to_json(config), device).status == "ok"
    assert len(made) == count
    assert made[0] == module.signature(asked, config).fn.__name__


def test_a_plan_that_needs_the_gpu_compiles_there(monkeypatch):
    """It costs nobody anything: the main kernel is compiled ahead all the same."""
    module = load("direct")
    asked = problem("conv2d", c=(3, 4), extents=(16, 16), k=3)
    config = module.default(asked, by_slug("h200"))

    def plan(*_):
        raise RuntimeError("no CUDA GPUs are available")

    failing = SimpleNamespace(signature=module.signature, plan=plan)
    assert compile_.passes(failing, asked, config) == []
