"""A switched model on a GPU: eager, in CUDA graphs by every usual recipe, and compiled; against torch in float32."""

import copy
import gc

import pytest
import torch
from torch import nn

import tunedb
from tunedb.device import current
from tunedb.kernel import config_to_json, load, names, source_hash
from tunedb.model.report import report
from tunedb.record import Record
from tunedb.store.write import Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
RELATIVE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 2e-3}


class Net(nn.Module):
    """A small decoder: forward and transposed layers, one of which computes its weight."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(16, 32, 3, padding=1)
        self.up = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 3, padding="same"))
        self.out = nn.Conv2d(16, 8, 1)

    def forward(self, x):
        return self.out(torch.relu(self.normed(torch.relu(self.up(torch.relu(self.stem(x)))))))


def answer_all(layers, path):
    """Write a record for each problem: the default config of the first kernel of tunedb's own that takes it, much faster than torch.

    In both layouts: under torch.compile two-dimensional layers run in channels_last.
    """
    device = current(0)
    layouts = ("channels_first", "channels_last")
    with Store(path) as store:
        for problem in [one._replace(layout=layout) for one in layers.problems for layout in layouts]:
            for name in names():
                kernel = load(name)
                config = (
                    None
                    if name in {"aten", "cudnn_last"} or problem.op not in kernel.OPS
                    else kernel.default(problem, device)
                )
                if config is not None and not kernel.valid(problem, config, device):
                    text = config_to_json(config)
                    break
            store.put(
                Record(
                    problem, device.slug, name, text, 10.0, 9.0, 11.0, 100.0, 1.0, 1e-4, 1e-4, "measured", 1,
                    source_hash(name), "", "", "", "", "2026-11-26T00:00:00+00:00",
                ),
                (),
            )  # fmt: skip


@pytest.fixture(params=[torch.float16, torch.bfloat16, torch.float32], ids=str)
def answered(request, tmp_path, monkeypatch):
    """A model of which every layer is answered, torch's copy of it, an input, and the captured layers."""
    torch.manual_seed(3)
    dtype = request.param
    theirs = Net().cuda().to(dtype).eval().requires_grad_(False)
    ours = copy.deepcopy(theirs)
    x = torch.randn(2, 16, 24, 20, device="cuda", dtype=dtype)
    with torch.no_grad(), tunedb.capture() as layers:
        ours(x)
    answer_all(layers, tmp_path / "answers.sqlite")
    monkeypatch.setenv("TUNEDB_PATH", str(tmp_path / "answers.sqlite"))
    tunedb.clear()
    yield ours, theirs, x, layers
    tunedb.clear()


def close(found, model, x):
    """Compare with the model in float64."""
    expected = copy.deepcopy(model).double()(x.double())
    error = (found.double() - expected).norm() / expected.norm()
    assert error < RELATIVE[x.dtype], error


def kernels(run):
    """Return the names of the GPU kernels of a call."""
    run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    return [event.name for event in profile.events() if event.device_type == torch.profiler.DeviceType.CUDA]


def captured_by_the_usual_recipe(model, x):
    """Warm up on a side stream, capture on torch.cuda.graph's own."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = model(x)
    return graph, out


@torch.no_grad()
def test_eager(answered):
    """Every layer is switched, and the output is right for more than one input."""
    ours, theirs, x, layers = answered
    used = tunedb.use(ours, layers)
    assert used.switched == ["stem", "up", "normed", "out"]
    for scale in (1.0, 3.0):
        close(ours(scale * x), theirs, scale * x)
    for row in report(layers, current(0)).rows:
        assert row.tier == "exact"


@torch.no_grad()
def test_without_captured_layers(answered):
    """`use` alone finds the layers of which some record is known, and other shapes fall back or are answered."""
    ours, theirs, x, _ = answered
    assert len(tunedb.use(ours).switched) == 4
    close(ours(x), theirs, x)
    close(ours(x[:1, :, :9]), theirs, x[:1, :, :9])


@torch.no_grad()
def test_graph_by_the_usual_recipe(answered):
    """A replay is right for new inputs and after a change of a weight in place; only the computed weight is packed in it."""
    ours, theirs, x, layers = answered
    tunedb.use(ours, layers)
    graph, out = captured_by_the_usual_recipe(ours, x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    close(out, theirs, x)
    found = kernels(graph.replay)
    assert found.count("pack") == 1, found  # that of the weight which the model computes in every pass
    for model in (ours, theirs):
        model.stem.weight.mul_(-0.5)
    ours(x)  # the packed copy is made again, in its old place
    graph.replay()
    close(out, theirs, x)


@torch.no_grad()
def test_a_cold_call_in_a_capture(answered):
    """A first call inside a capture does not break it, and the replay is right."""
    ours, theirs, x, _ = answered
    theirs(x)
    with tunedb.use(ours):
        tunedb.clear()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = ours(x)
        x.copy_(torch.randn_like(x))
        graph.replay()
        close(out, theirs, x)
        close(ours(x), theirs, x)


@torch.no_grad()
def test_make_graphed_callables(answered):
    """torch.cuda.make_graphed_callables gives a callable that is right."""
    ours, theirs, x, layers = answered
    tunedb.use(ours, layers)
    graphed = torch.cuda.make_graphed_callables(ours, (x.clone(),))
    for scale in (1.0, 2.0):
        close(graphed(scale * x), theirs, scale * x)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@torch.no_grad()
def test_compiled(answered, mode):
    """Compiled without a graph break, with and without CUDA graphs, for several inputs and after a change of a weight."""
    ours, theirs, x, layers = answered
    tunedb.use(ours, layers)
    torch._dynamo.reset()
    compiled = torch.compile(ours, fullgraph=True, mode=mode)
    for scale in (1.0, 2.0, 3.0, 4.0):
        close(compiled(scale * x).clone(), theirs, scale * x)
    found = kernels(lambda: compiled(x))
    assert not any("cudnn" in name or "sm90_xmma" in name for name in found), found
    for model in (ours, theirs):
        model.up.weight.mul_(-0.5)
    ours(x)
    close(compiled(x).clone(), theirs, x)


@torch.no_grad()
def test_compiled_functional_reduce_overhead_is_cold(answered):
    """Weights that are first packed while CUDA graph trees warm up are still there in every replay."""
    ours, theirs, x, _ = answered
    tunedb.use(ours)
    tunedb.clear()
    torch._dynamo.reset()
    compiled = torch.compile(ours, mode="reduce-overhead")
    for scale in (1.0, 2.0, 3.0, 4.0, 5.0):
        close(compiled(scale * x).clone(), theirs, scale * x)


@torch.no_grad()
def test_compiled_dynamic(answered):
    """One dynamic graph serves several extents."""
    ours, theirs, x, _ = answered
    tunedb.use(ours)
    torch._dynamo.reset()
    compiled = torch.compile(ours, dynamic=True, fullgraph=True)
    for extent in (20, 16, 12):
        part = x[..., :extent].contiguous()
        close(compiled(part), theirs, part)


@torch.no_grad()
def test_weights_that_move(answered):
    """load_state_dict, `.to()` and inference tensors give what the new weights give."""
    ours, theirs, x, layers = answered
    tunedb.use(ours, layers)
    ours(x)
    torch.manual_seed(9)
    other = Net().cuda().to(x.dtype).eval().requires_grad_(False)
    ours.load_state_dict(other.state_dict())
    close(ours(x), other, x)
    close(ours.float()(x.float()), other, x.float())
    ours.to(x.dtype)
    close(ours(x), other, x)
    with torch.inference_mode():
        inference = copy.deepcopy(theirs)
        for module in inference.modules():
            for name, one in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(one.clone(), requires_grad=False))
        tunedb.use(inference)
        close(inference(x), theirs, x)


@torch.no_grad()
def test_memory_is_given_back(answered):
    """What is packed for a model goes with its weights."""
    ours, _, x, layers = answered
    tunedb.use(ours, layers)
    ours(x)
    assert tunedb.stats()["packed_bytes"] > 0
    for name in ("stem", "up", "normed", "out"):
        delattr(ours, name)
    gc.collect()
    assert tunedb.stats()["packed_bytes"] == 0
