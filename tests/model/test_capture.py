"""What a capture sees: every convolution of a model, however it is called, as tunedb would be asked at inference."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import tunedb
from tunedb.dispatch.normalise import normalised
from tunedb.errors import ProblemError, SuiteError, TunedbWarning
from tunedb.model.layers import Layers
from tunedb.problem import OPS, is_transposed, rank

pytestmark = pytest.mark.filterwarnings("ignore:.*padding='same'.*", "ignore::FutureWarning")
MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode, "grad": torch.enable_grad}


def tensors(op, device="cpu", groups=1, k=3):
    axes = rank(op)
    lead = (4, 6 // groups) if is_transposed(op) else (6, 4 // groups)
    shapes = ((2, 4, *(9,) * axes), (*lead, *(k,) * axes), (6,))
    return [torch.randn(shape, device=device) for shape in shapes]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("sizes", [{}, {"stride": 2, "padding": 1}, {"groups": 2, "dilation": 2}], ids=str)
def test_a_call_is_the_problem_that_dispatch_sees(op, mode, device, sizes):
    """A call of torch's function, and of tunedb's, is recorded as the problem that a GPU's call would be, in every mode."""
    x, weight, bias = tensors(op, device, sizes.get("groups", 1))
    with MODES[mode](), tunedb.capture() as layers:
        getattr(functional, op)(x, weight, bias, **sizes)
        getattr(tunedb, op)(x, weight, bias, **sizes)
    full = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1} | sizes
    assert list(layers.problems) == [normalised(op, x, weight, bias, *full.values()).problem]
    assert [entry.calls for entry in layers] == [2]
    assert layers.entries[0].modules == (op,)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [3, 4])
def test_same_padding(mode, k):
    """padding="same" is recorded as dispatch answers it: padded at the far end first where it is uneven."""
    x, weight, bias = tensors("conv2d", k=k)
    with MODES[mode](), tunedb.capture() as layers:
        functional.conv2d(x, weight, bias, padding="same")
    assert list(layers.problems) == [normalised("conv2d", x, weight, bias, 1, "same", 0, 1, 1).problem]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(3, 8, 5, padding=2, padding_mode="reflect")
        self.blocks = nn.ModuleList([nn.Conv1d(8, 8, 3, padding=1) for _ in range(2)])
        self.shared = nn.Conv1d(8, 8, 1)
        self.normed = nn.utils.weight_norm(nn.Conv1d(8, 8, 7))
        self.parametrized = parametrizations.weight_norm(nn.ConvTranspose1d(8, 4, 4, stride=2))
        self.kernel = nn.Parameter(torch.randn(4, 4, 3))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = self.shared(block(x))
        x = self.parametrized(self.normed(x))
        return functional.conv1d(x, self.kernel)


def test_modules_and_counts():
    """Each problem has its calls and the qualified names of the modules that make them; a functional call is its module's."""
    with torch.no_grad(), tunedb.capture() as layers:
        Net()(torch.randn(1, 3, 32))
    found = {entry.id: (entry.calls, entry.modules, entry.spatial_in) for entry in layers}
    assert found == {
        "stem": (1, ("stem",), (36,)),
        "blocks.0": (2, ("blocks.0", "blocks.1"), (32,)),
        "shared": (2, ("shared",), (32,)),
        "normed": (1, ("normed",), (32,)),
        "parametrized": (1, ("parametrized",), (26,)),
        "Net": (1, ("Net",), (54,)),
    }
    assert layers.calls == 8


def test_lengths_that_differ():
    """Shapes that differ from call to call are kept apart with their counts, under names of their own."""
    layer = nn.Sequential(nn.Conv1d(2, 2, 3))
    with torch.no_grad(), tunedb.capture() as layers:
        for length in (9, 12, 9, 15, 9):
            layer(torch.randn(1, 2, length))
    assert [(entry.id, entry.spatial_in, entry.calls) for entry in layers] == [
        ("0", (9,), 3), ("0#2", (12,), 1), ("0#3", (15,), 1)
    ]  # fmt: skip


def test_two_models_in_one_block():
    """Where several models are called, the class of each is in front of its names."""
    one, other = nn.Sequential(nn.Conv2d(3, 3, 1)), nn.ModuleDict({"a": nn.Conv2d(3, 4, 1)})
    with torch.no_grad(), tunedb.capture() as layers:
        other["a"](one(torch.randn(1, 3, 5, 5)))
    assert [entry.modules for entry in layers] == [("Sequential.0",), ("Conv2d",)]


def test_training_counts_forward_passes_only():
    """A backward pass adds nothing."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3))
    with tunedb.capture() as layers:
        net(torch.randn(1, 3, 8, 8)).sum().backward()
    assert [entry.calls for entry in layers] == [1, 1]


def test_autocast_is_seen_as_it_runs():
    """Under autocast the problem has the dtype that the convolution runs in."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), tunedb.capture() as layers:
        nn.Conv2d(3, 4, 3)(torch.randn(1, 3, 8, 8))
    assert [entry.dtype for entry in layers] == ["bfloat16"]


@pytest.mark.parametrize("allowed", [True, False])
def test_precision_and_layout(monkeypatch, allowed):
    """float32 is tf32 or ieee as torch's settings stand; channels_last is told from the strides."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    x = torch.randn(1, 8, 8, 8).to(memory_format=torch.channels_last)
    with torch.no_grad(), tunedb.capture() as layers:
        nn.Conv2d(8, 4, 3)(x)
    (entry,) = layers
    assert (entry.precision, entry.layout) == ("tf32" if allowed else "ieee", "channels_last")
    monkeypatch.undo()


def test_what_tunedb_cannot_answer_is_counted():
    """Calls in other dtypes and of empty tensors are counted with the reason, not lost."""
    with torch.no_grad(), tunedb.capture() as layers:
        functional.conv1d(torch.randn(1, 2, 5).double(), torch.randn(2, 2, 3).double())
    assert not layers.entries
    assert list(layers.skipped.values()) == [1]
    assert "not for float64" in str(layers)
    with pytest.raises(SuiteError, match="not for float64"):
        layers.save("never.json")


def test_nested_captures_and_errors():
    """Nested captures both see a call; after an error nothing of a capture is left, and what was seen is kept."""
    layer = nn.Conv1d(2, 2, 3)
    x = torch.randn(1, 2, 9)
    with torch.no_grad(), tunedb.capture() as outer:
        layer(x)
        with pytest.raises(RuntimeError), tunedb.capture() as inner:
            layer(x)
            layer(torch.randn(1, 3, 9))
    assert [entry.calls for entry in inner] == [1]
    assert [entry.calls for entry in outer] == [2]
    assert outer.entries[0].modules == ("Conv1d",)
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.nn.modules.module._global_forward_hooks
    with torch.no_grad():
        layer(x)
    assert [entry.calls for entry in outer] == [2]


def test_an_error_in_a_module_leaves_the_names_right():
    """A module that fails inside another does not give its name to later calls."""

    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.good = nn.Conv1d(3, 3, 3), nn.Conv1d(2, 2, 3)

        def forward(self, x):
            try:
                self.bad(x)
            except RuntimeError:
                return self.good(x)

    with torch.no_grad(), tunedb.capture() as layers:
        Tries()(torch.randn(1, 2, 9))
    assert [entry.modules for entry in layers] == [("good",)]


def test_the_limit_is_said_aloud():
    """Beyond the limit calls are only counted, and one warning says so."""
    layer = nn.Conv1d(2, 2, 3)

    def run():
        with torch.no_grad(), tunedb.capture(limit=2) as layers:
            for length in (9, 10, 11, 12, 9):
                layer(torch.randn(1, 2, length))
        return layers

    with pytest.warns(TunedbWarning, match="at most 2 different problems") as said:
        layers = run()
    assert len(said) == 1
    assert [entry.calls for entry in layers] == [2, 1]
    assert layers.dropped == 2
    assert "2 calls of further problems" in str(layers)
    with pytest.raises(ProblemError, match="limit must be an integer of at least 1"):
        tunedb.capture(limit=0)


def test_save_and_load(tmp_path):
    """A saved capture loads as the same entries; nothing is left beside it."""
    with torch.no_grad(), tunedb.capture() as layers:
        Net().to(torch.bfloat16)(torch.randn(1, 3, 32).to(torch.bfloat16))
    path = tmp_path / "net.json"
    path.write_text("older")
    layers.save(path)
    again = Layers.load(path)
    assert [entry._replace(line=0) for entry in again] == list(layers)
    assert again.problems.keys() == layers.problems.keys()
    assert [one.name for one in tmp_path.iterdir()] == ["net.json"]
    with pytest.raises(SuiteError, match="a folder that exists"):
        layers.save(tmp_path / "none" / "net.json")
    assert "blocks.0" in str(layers)


def test_nothing_called(tmp_path):
    """An empty capture says what to do, and is not saved."""
    with tunedb.capture() as layers:
        pass
    assert "call the model there" in str(layers)
    with pytest.raises(SuiteError, match="call the model there"):
        layers.save(tmp_path / "x.json")


@pytest.mark.parametrize("rank", [2, 3])
def test_channels_last_on_meta_tensors(rank):
    """On meta tensors every layer behind a channels_last input is channels_last, as on a GPU, and contiguous ones stay."""
    kind = nn.Conv2d if rank == 2 else nn.Conv3d
    last = torch.channels_last if rank == 2 else torch.channels_last_3d
    net = nn.Sequential(kind(8, 8, 3), nn.ReLU(), kind(8, 4, 3)).to("meta")
    x = torch.empty(2, 8, *(9,) * rank, device="meta")
    for given, layout in ((x, "channels_first"), (x.to(memory_format=last), "channels_last")):
        with torch.no_grad(), tunedb.capture() as layers:
            net(given)
        assert [entry.layout for entry in layers] == [layout] * 2
