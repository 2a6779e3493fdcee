"""What torch.compile and torch.export make of a call: operators without a graph break, and torch's own where torch answers."""

import pytest
import torch
from compiled_answers import tensors
from torch._inductor import config
from torch.nn import functional

import tunedb
from tunedb.dispatch import calls, lookup, operators
from tunedb.problem import OPS, rank

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def graph_of(op):
    """A call that tunedb answers: in channels_last where Inductor runs torch's own so."""
    turned = ["aten.clone.default"] * (rank(op) == 2)
    return [*turned, "tunedb.tuned.default", *turned]


SIZES = [
    {},
    {"stride": 2},
    {"padding": 1, "groups": 2},
    {"stride": (2,), "padding": [1], "dilation": 2},
]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_tuned_layer_is_one_operator(answers, op, sizes):
    """Compiled without a graph break, a call that tunedb answers is its operator, runs its plan and gives torch's result."""
    x, weight, bias = tensors(op, groups=sizes.get("groups", 1))
    compiled = answers.compile(lambda *given: getattr(tunedb, op)(*given, **sizes))
    with torch.no_grad():
        out = compiled(x, weight, bias)
    expected = getattr(functional, op)(x, weight, bias, **sizes)
    assert torch.equal(out, expected)
    assert out.stride() == expected.stride()
    assert answers.graphs == [graph_of(op)]
    assert answers.ran == [op]


@pytest.mark.parametrize("op", OPS)
def test_a_layer_of_torchs_is_torchs_operator(answers, op):
    """A call that torch answers compiles to aten.convolution, which Inductor knows."""
    answers.ops.clear()
    x, weight, bias = tensors(op)
    with torch.no_grad():
        out = answers.compile(getattr(tunedb, op))(x, weight, bias)
    assert torch.equal(out, getattr(functional, op)(x, weight, bias))
    assert answers.graphs == [["aten.convolution.default"]]


@pytest.mark.parametrize(
    ("captures", "operator"), [(True, "tunedb.tuned.default"), (False, "aten.convolution.default")]
)
def test_an_answer_for_graphs_only(answers, monkeypatch, captures, operator):
    """It is tunedb's where Inductor captures graphs, and else torch's own, which Inductor may fuse."""
    monkeypatch.setattr(operators, "too_short_for_eager", lambda _: " In CUDA graphs only.")
    x, weight, bias = tensors("conv3d")
    with torch.no_grad(), config.patch({"triton.cudagraphs": captures}):
        out = answers.compile(tunedb.conv3d)(x, weight, bias)
    assert torch.equal(out, functional.conv3d(x, weight, bias))
    assert answers.graphs == [[operator]]


@pytest.mark.parametrize("op", OPS)
def test_two_dimensions_are_decided_in_channels_last(answers, monkeypatch, op):
    """Inductor turns torch's own two-dimensional convolutions to channels_last: there, and only there, a call competes with them."""
    asked = []

    def answer(problem, device):
        asked.append(problem.layout)
        return answers.answer(problem, device)

    monkeypatch.setattr(lookup, "answer", answer)
    with torch.no_grad():
        answers.compile(getattr(tunedb, op))(*tensors(op))
    assert set(asked) == {"channels_last" if rank(op) == 2 else "channels_first"}


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("k", [3, 4])
def test_named_paddings(answers, padding, k):
    """Named paddings, uneven ones included, are torch's."""
    x, weight, bias = tensors("conv2d", k=k)
    with torch.no_grad():
        out = answers.compile(lambda *given: tunedb.conv2d(*given, padding=padding))(x, weight, bias)
    torch.testing.assert_close(out, functional.conv2d(x, weight, bias, padding=padding))
    assert "tunedb.tuned.default" in answers.graphs[0]


@pytest.mark.parametrize("op", ["conv1d", "conv_transpose2d"])
def test_without_a_batch(answers, op):
    """An input without a batch goes in and comes out without one."""
    x, weight, bias = tensors(op)
    with torch.no_grad():
        out = answers.compile(getattr(tunedb, op))(x[0], weight, bias)
    torch.testing.assert_close(out, getattr(functional, op)(x[0], weight, bias))
    assert "tunedb.tuned.default" in answers.graphs[0]


def test_channels_last(answers):
    """The fake output has the strides of the real one."""
    x, weight, bias = tensors("conv2d")
    x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        out = answers.compile(lambda *given: tunedb.conv2d(*given).relu())(x, weight, bias)
    assert torch.equal(out, functional.conv2d(x.contiguous(), weight, bias).relu())
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_plan_that_gives_up_keeps_the_promised_strides(answers):
    """Where the plan is torch's after all, the output is laid out as the compiled graph was promised."""
    x, weight, _ = tensors("conv2d")
    x = x.to(memory_format=torch.channels_last)
    compiled = answers.compile(lambda *given: tunedb.conv2d(*given).relu())
    with torch.no_grad():
        expected = compiled(x, weight)
        answers.ops.clear()
        calls.clear()
        again = compiled(x, weight)
    assert torch.equal(again, expected)
    assert again.stride() == expected.stride()
    assert answers.ran == ["conv2d"]


def test_dynamic_shapes_are_decided_in_each_call(answers):
    """One graph serves every length; the operator looks up each length's plan."""
    _, weight, bias = tensors("conv1d")
    compiled = answers.compile(lambda x: tunedb.conv1d(x, weight, bias, padding=1), dynamic=True)
    with torch.no_grad():
        for length in (9, 10, 23, 40):
            x = torch.randn(2, 4, length)
            assert torch.equal(compiled(x), functional.conv1d(x, weight, bias, padding=1))
    assert answers.graphs[-1].count("tunedb.tuned.default") == 1
    assert len(answers.graphs) <= 2
    assert answers.ran == ["conv1d"] * 4


def test_training_is_torchs(answers):
    """Where a gradient is asked for, forward and backward are torch's."""
    x, weight, bias = tensors("conv2d")
    ours, theirs = weight.clone().requires_grad_(), weight.clone().requires_grad_()
    answers.compile(lambda given: tunedb.conv2d(x, given, bias).square().sum())(ours).backward()
    functional.conv2d(x, theirs, bias).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert not answers.ran


def test_autocast_is_torchs(answers):
    """Under autocast torch's own operator is in the graph, so that it is cast."""
    x, weight, bias = tensors("conv2d")

    def call(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return tunedb.conv2d(x, weight, bias)

    with torch.no_grad():
        out = answers.compile(call)(x)
    assert out.dtype is torch.bfloat16
    assert not answers.ran


def test_vmap_inside(answers):
    """Mapping over a compiled call gives what vmap over torch's gives."""
    x, weight, _ = tensors("conv1d")
    batch = torch.stack([x, 2 * x])
    with torch.no_grad():
        out = answers.compile(torch.func.vmap(lambda one: tunedb.conv1d(one, weight)))(batch)
    torch.testing.assert_close(out, torch.func.vmap(lambda one: functional.conv1d(one, weight))(batch))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(tensors("conv2d")[1])

    def forward(self, x):
        return tunedb.conv2d(x, self.weight, padding=1).relu()


@pytest.mark.parametrize("strict", [False, True])
def test_export(answers, strict):
    """An exported program has the operator, runs, and survives saving."""
    x = tensors("conv2d")[0]
    net = Net().eval().requires_grad_(False)
    torch._dynamo.reset()
    program = torch.export.export(net, (x,), strict=strict).run_decompositions()
    named = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any(name.startswith("tunedb.") for name in named), named
    assert torch.equal(program.module()(x), functional.conv2d(x, net.weight, padding=1).relu())
    assert answers.ran


def test_the_decision_is_part_of_what_a_cache_keys_on(answers, monkeypatch, tmp_path):
    """A changed database changes an argument of the operator, under which torch keeps compiled graphs on disk."""
    seen = []
    x, weight, _ = tensors("conv1d")

    def keep(graph, _):
        seen.append([node.args[-1] for node in graph.graph.nodes if "convolution" in str(node.target)])
        return graph

    for name in ("a", "b"):
        monkeypatch.setattr(lookup, "fingerprint", lambda name=name: name)
        torch._dynamo.reset()
        with torch.no_grad():
            torch.compile(lambda x: tunedb.conv1d(x, weight), backend=keep, fullgraph=True)(x)
    assert [one[0].split()[0] for one in seen] == ["a", "b"]


def test_replaced_functions_compile(answers, monkeypatch):
    """A model whose torch.nn.functional.conv2d is tunedb's compiles to the operator, and does not recurse."""
    monkeypatch.setattr(functional, "conv2d", tunedb.conv2d)
    net = torch.nn.Conv2d(4, 6, 3).requires_grad_(False)
    x = tensors("conv2d")[0]
    out = answers.compile(net)(x)
    assert torch.equal(out, torch.conv2d(x, net.weight, net.bias))
    assert answers.graphs == [graph_of("conv2d")]
