"""Switching a model's layers over and back: which, how they answer, and that the model stays as it was."""

import copy
import io
import pickle

import pytest
import torch
from isolated_plans import isolate
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import tunedb
from tunedb.dispatch import plans
from tunedb.dispatch.plans import Plan
from tunedb.errors import ProblemError
from tunedb.model import use as module
from tunedb.model.switched import original, plain_op
from tunedb.suite import Entry

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Planner:
    """A plan for every call that gives torch's result and notes what was asked for."""

    def __init__(self):
        self.ran = []

    def make_plan(self, op, _x, _weight, _bias, *sizes):
        from tunedb.dispatch.operators import torch_convolution

        def run(x, weight, bias):
            self.ran.append(op)
            return torch_convolution(op, x, weight, bias, *sizes)

        return Plan(run, 0, "a test's", sizes)


@pytest.fixture
def planner(monkeypatch):
    found = Planner()
    isolate(monkeypatch, found.make_plan)
    monkeypatch.setattr(torch.Tensor, "get_device", lambda _: 0)
    monkeypatch.setattr(module, "_judged", lambda *_: ("", []))
    return found


class Net(nn.Module):
    """Convolutions of every kind that a model has."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.body = nn.Sequential(nn.Conv2d(8, 8, 4, stride=2, padding=1, padding_mode="reflect"), nn.ReLU())
        self.shared = nn.Conv2d(8, 8, 1)
        self.again = self.shared
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.again(self.shared(self.body(self.stem(x))))
        return self.head(self.up(x, output_size=[16, 16]).mean((2, 3)))


X = torch.randn(2, 3, 16, 16)


def net():
    torch.manual_seed(1)
    return Net().eval().requires_grad_(False)


def test_use_and_undo(planner):
    """Every layer is switched once, gives the same output, and is as before after undo."""
    model = net()
    before, text, state = model(X), repr(model), model.state_dict()
    used = tunedb.use(model)
    assert used.switched == ["stem", "body.0", "shared", "up"]
    assert torch.equal(model(X), before)
    assert planner.ran == ["conv2d", "conv2d", "conv2d", "conv2d", "conv_transpose2d"]
    assert repr(model) == text
    assert list(model.state_dict()) == list(state)
    used.undo()
    used.undo()
    assert type(model.stem) is nn.Conv2d
    assert type(model.up) is nn.ConvTranspose2d
    planner.ran.clear()
    assert torch.equal(model(X), before)
    assert not planner.ran


def test_used_for_a_while(planner):
    """As a context manager it undoes itself, also after an error."""
    model = net()
    with pytest.raises(ZeroDivisionError), tunedb.use(model) as used:
        assert used.switched
        _ = 1 / 0
    assert type(model.stem) is nn.Conv2d


def test_use_twice(planner):
    """A layer that is switched already is left alone, and each undo gives back its own."""
    model = net()
    first = tunedb.use(model)
    second = tunedb.use(model)
    assert not second.switched
    second.undo()
    assert type(model.stem) is not nn.Conv2d
    first.undo()
    assert type(model.stem) is nn.Conv2d


def test_copies_and_pickles_are_torchs(planner):
    """deepcopy, pickle and torch.save of a used model give a model of torch's own classes with the same weights."""
    model = net()
    tunedb.use(model)
    expected = model(X)
    file = io.BytesIO()
    torch.save(model.stem, file)
    file.seek(0)
    assert type(torch.load(file, weights_only=False)) is nn.Conv2d
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(made.stem) is nn.Conv2d
        assert type(made.up) is nn.ConvTranspose2d
        assert torch.equal(made(X), expected)
        assert not any(name.startswith("tunedb") for name in vars(made.stem))


def test_hooks_and_instance_checks_still_hold(planner):
    """Hooks run, isinstance holds, `.to()` and load_state_dict work on a used model."""
    model, seen = net(), []
    model.stem.register_forward_hook(lambda *_: seen.append(1))
    tunedb.use(model)
    assert isinstance(model.stem, nn.Conv2d)
    other = net()
    nn.init.ones_(other.stem.weight)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model(X), other(X))
    assert seen == [1]
    assert model.double()(X.double()).dtype is torch.float64


def test_weights_that_are_computed(planner):
    """Weight norm, old and parametrized, spectral norm and pruning: the layer is switched and uses the computed weight."""
    made = [
        nn.utils.weight_norm(nn.Conv1d(4, 4, 3)),
        parametrizations.weight_norm(nn.Conv1d(4, 4, 3)),
        parametrizations.spectral_norm(nn.Conv1d(4, 4, 3)),
        prune.l1_unstructured(nn.Conv1d(4, 4, 3), "weight", 0.5),
        parametrizations.weight_norm(nn.ConvTranspose1d(4, 4, 3)),
    ]
    x = torch.randn(1, 4, 9)
    for layer in made:
        layer.eval()
        with torch.no_grad():
            expected = layer(x)
            used = tunedb.use(layer)
            planner.ran.clear()
            assert torch.equal(layer(x), expected)
        assert used.switched == [""]
        assert len(planner.ran) == 1
        used.undo()
        assert parametrize.is_parametrized(layer) == isinstance(
            layer, nn.Conv1d | nn.ConvTranspose1d
        ) or not parametrize.is_parametrized(layer)


def test_gradients_flow(planner):
    """A used model trains as before: torch answers where a gradient is asked for."""
    model = net().requires_grad_(True)
    model(X).square().sum().backward()
    expected = [one.grad.clone() for one in model.parameters()]
    model.zero_grad()
    tunedb.use(model)
    model(X).square().sum().backward()
    for one, other in zip(model.parameters(), expected, strict=True):
        assert torch.equal(one.grad, other)
    assert not planner.ran


class Padded(nn.Conv2d):
    """Pads in a way of its own, then is a convolution of torch's."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))


class Other(nn.Conv2d):
    def _conv_forward(self, *_):
        return 0


class Reshaped(nn.ConvTranspose2d):
    def forward(self, x):
        return super().forward(x)


def test_which_modules_are_plain():
    """Layers that compute the convolution in their own way and lazy ones are left; those that only pad or construct count."""
    replaced = nn.Conv2d(3, 3, 1)
    replaced._conv_forward = lambda x: x
    left = (Other(3, 3, 1), Reshaped(3, 3, 1), nn.LazyConv2d(3, 1), replaced, nn.Linear(2, 2))
    assert [plain_op(one) for one in left] == [None] * 5
    taken = (Padded(3, 3, 1), nn.Conv3d(3, 3, 1), nn.ConvTranspose1d(3, 3, 1))
    assert [plain_op(one) for one in taken] == ["conv2d", "conv3d", "conv_transpose1d"]


def test_a_subclass_that_pads(planner):
    """A layer that pads in its own forward is switched and gives what it gave."""
    layer = Padded(3, 4, 3).eval().requires_grad_(False)
    before = layer(X)
    with tunedb.use(layer):
        assert torch.equal(layer(X), before)
    assert planner.ran == ["conv2d"]
    assert type(layer) is Padded


def test_compiles_without_a_break(planner):
    """A used model is one graph."""
    model = net()
    expected = model(X)
    tunedb.use(model)
    torch._dynamo.reset()
    with torch.no_grad():
        out = torch.compile(model, backend="eager", fullgraph=True)(X)
    torch.testing.assert_close(out, expected)


def test_nothing_is_switched_without_a_gpu():
    """On the CPU every layer is torch's, and the text says why."""
    model = net()
    used = tunedb.use(model)
    assert not used.switched
    assert "0 of 4 convolutions are answered by tunedb." in str(used)
    assert "it is on cpu" in str(used)


def test_only_modules(tmp_path):
    """Something else than a module is refused in words."""
    with pytest.raises(ProblemError, match=r"must be a torch\.nn\.Module, but got function"):
        tunedb.use(lambda x: x)


def entry(name, layer, dtype="float16", extent=16):
    return Entry(
        name, 1, plain_op(layer), 2, layer.in_channels, (extent, extent), layer.out_channels, layer.kernel_size,
        layer.stride, (0, 0), (0, 0), layer.dilation, layer.groups, True, dtype, "ieee", "channels_first", 1, (name,),
    )  # fmt: skip


def test_what_was_asked_decides(monkeypatch):
    """With captured layers, those are switched whose answer is not torch's; their kernels are prepared."""
    from tunedb.dispatch import lookup

    model, prepared, compiled = net().half(), [], []
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(module, "current", lambda _: None)

    def answer(problem, device):
        del device
        won = problem.c_in == 3 or problem.op == "conv_transpose2d"
        return lookup.Answer("exact" if won else "aten", "fake" if won else "aten", None, None, "a reason")

    def prepare(found, problem, index, weight):
        prepared.append((problem.op, weight is not None))
        return "it does not compile" if problem.op == "conv_transpose2d" else ""

    monkeypatch.setattr(lookup, "answer", answer)
    monkeypatch.setattr(plans, "prepare", prepare)
    monkeypatch.setattr(module, "compile_together", lambda needs, _: compiled.extend(needs))
    asked = [
        entry("stem", model.stem),
        entry("shared", model.shared),
        entry("up", model.up),
        entry("other", model.body[0], "float32"),
    ]
    used = tunedb.use(model, asked)
    assert used.switched == ["stem"]
    why = {layer.name: layer.why for layer in used.layers}
    assert why["shared"] == "a reason"
    assert why["body.0"] == "the model was not seen to call it"
    assert why["up"].endswith("it does not compile")
    assert prepared == [("conv2d", True), ("conv_transpose2d", True)]
    assert [(kernel, problem.op) for kernel, problem, _ in compiled] == [("fake", op) for op, _ in prepared]
    assert original(type(model.stem)) is nn.Conv2d
