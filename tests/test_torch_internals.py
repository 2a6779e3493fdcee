"""Each private name of torch, missing: tunedb imports, says so once, and answers what torch answers."""

import subprocess
import sys
import types
import warnings

import pytest
import torch
from isolated_plans import isolate
from torch.nn import functional

from tunedb import launch, ops, torch_internals
from tunedb.dispatch import calls, normalise
from tunedb.dispatch.plans import Plan
from tunedb.errors import TunedbWarning
from tunedb.weights import cache


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Each test starts with no warning given."""
    monkeypatch.setattr(torch_internals, "_said", set())


@pytest.fixture
def planned(monkeypatch):
    """Every call has a plan, which gives zeros; the list of its runs."""
    runs = []

    def made(_op, _x, _weight, _bias, *sizes):
        return Plan(lambda *_: runs.append(1) or torch.zeros(1), 0, "a test's", sizes)

    isolate(monkeypatch, made)
    return runs


X, WEIGHT = torch.randn(2, 4, 9), torch.randn(6, 4, 3)


def twice(call, name):
    """Call twice and return both answers; exactly one warning is given, and it names what is missing."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        answers = call(), call()
    assert [one.category for one in given] == [TunedbWarning]
    assert name in str(given[0].message)
    return answers


def without(monkeypatch, path, find):
    """Return what `find` finds while torch lacks a name; torch itself has it again afterwards."""
    *parents, name = path.split(".")
    owner = torch._C
    for parent in parents:
        owner = getattr(owner, parent)
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        return find()


@pytest.mark.parametrize(
    ("guard", "path", "find"),
    [
        ("functorch_layer", "_functorch.peek_interpreter_stack", torch_internals._find_functorch_layer),
        ("functorch_layer", "_functorch", torch_internals._find_functorch_layer),
        ("dispatch_modes", "_len_torch_dispatch_stack", torch_internals._find_dispatch_modes),
    ],
)
def test_a_guard_that_nobody_can_evaluate(monkeypatch, planned, guard, path, find):
    """Where torch does not say whether a transform or a mode is active, torch's own operation answers every call."""
    monkeypatch.setattr(calls, guard, without(monkeypatch, path, find))
    for answer in twice(lambda: ops.conv1d(X, WEIGHT), path.rpartition(".")[2]):
        assert torch.equal(answer, functional.conv1d(X, WEIGHT))
    assert not planned


@pytest.mark.parametrize("wrong", [lambda: 1 / 0, lambda _argument: 0])
def test_a_guard_of_another_kind_is_not_used(monkeypatch, planned, wrong):
    """A function of the known name that raises, or takes other arguments, is taken for missing."""
    monkeypatch.setattr(torch._C, "_len_torch_dispatch_stack", wrong)
    monkeypatch.setattr(calls, "dispatch_modes", torch_internals._find_dispatch_modes())
    for answer in twice(lambda: ops.conv1d(X, WEIGHT), "_len_torch_dispatch_stack"):
        assert torch.equal(answer, functional.conv1d(X, WEIGHT))


def test_tracing_by_public_api(monkeypatch, planned):
    """Without _get_tracing_state, torch.jit.is_tracing keeps plans out of a trace and lets them run outside of one."""
    found = without(monkeypatch, "_get_tracing_state", torch_internals._find_tracing_state)
    monkeypatch.setattr(calls, "tracing_state", found)
    assert [len(answer) for answer in twice(lambda: ops.conv1d(X, WEIGHT), "_get_tracing_state")] == [1, 1]
    assert len(planned) == 2
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    assert torch.equal(ops.conv1d(X, WEIGHT), functional.conv1d(X, WEIGHT))
    assert len(planned) == 2


def test_tracing_that_nobody_can_tell(monkeypatch, planned):
    """Without torch.jit.is_tracing too, torch's own operation answers."""
    found = without(monkeypatch, "_get_tracing_state", torch_internals._find_tracing_state)
    monkeypatch.setattr(calls, "tracing_state", found)
    monkeypatch.delattr(torch.jit, "is_tracing")
    for answer in twice(lambda: ops.conv1d(X, WEIGHT), "_get_tracing_state"):
        assert torch.equal(answer, functional.conv1d(X, WEIGHT))
    assert not planned


RENAMED = """
import sys, types, warnings
import torch
from torch.autograd import forward_ad
from torch.nn import functional

# torch as it would be if it called the level otherwise
source = open(forward_ad.__file__).read().replace("_current_level", "_level_now")
renamed = types.ModuleType("torch.autograd.forward_ad")
renamed.__package__ = "torch.autograd"
exec(source, renamed.__dict__)
sys.modules["torch.autograd.forward_ad"] = torch.autograd.forward_ad = renamed

with warnings.catch_warnings(record=True) as given:
    warnings.simplefilter("always")
    import tunedb
    from tunedb.dispatch import calls, plans
    assert not given, "an import must not warn"
    ran = []
    plans.make_plan = lambda op, x, weight, bias, *sizes: plans.Plan(
        lambda *_: ran.append(1) or torch.zeros(1), 0, "", sizes)
    calls._device_index = None
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    tunedb.conv1d(x, weight), tunedb.conv1d(x, weight)
    assert len(ran) == 2, "outside a level plans run"
    with renamed.dual_level():
        out = tunedb.conv1d(renamed.make_dual(x, torch.ones_like(x)), weight)
        assert renamed.unpack_dual(out).tangent is not None
    with renamed.dual_level(), torch.inference_mode():
        assert torch.equal(tunedb.conv1d(x, weight), functional.conv1d(x, weight))
    assert len(ran) == 2
    text = "no such words"
    def refuse(*_): raise RuntimeError(text)
    renamed.make_dual = refuse
    assert torch.equal(tunedb.conv1d(x, weight), functional.conv1d(x, weight)), "unknown: torch answers"
said = [str(one.message) for one in given if one.category is tunedb.TunedbWarning]
assert len(said) == 1 and "_current_level" in said[0], said
"""


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_renamed_level_of_forward_differentiation():
    """Under another name for the level, make_dual tells whether one is entered: a tangent is never lost, and plans still run."""
    python(RENAMED)


IMPORT = """
import warnings
import torch
from torch.nn import functional
{delete}
with warnings.catch_warnings(record=True) as given:
    warnings.simplefilter("always")
    import tunedb, tunedb.launch, tunedb.weights.cache
    assert not given, "an import must not warn"
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    for _ in range(2):
        assert torch.equal(tunedb.conv1d(x, weight), functional.conv1d(x, weight))
assert len(given) <= 1, [str(one.message) for one in given]
"""


@pytest.mark.parametrize(
    "path",
    [
        "_functorch",
        "_functorch.peek_interpreter_stack",
        "_len_torch_dispatch_stack",
        "_get_tracing_state",
        "_cuda_getDevice",
        "_cuda_getCurrentRawStream",
        "_get_fp32_precision_getter",
        "_dynamo",
    ],
)
def test_import_needs_no_private_name(path):
    """Without any one of the names, tunedb imports without a warning and gives torch's answers with at most one."""
    owner, _, name = f"torch._C.{path}".rpartition(".")
    python(IMPORT.format(delete=f"if hasattr({owner}, {name!r}): del {owner}.{name}"))


def test_the_current_device_by_public_api(monkeypatch):
    """Without _cuda_getDevice a build with CUDA asks torch.cuda; a build without has no plans and asks nobody."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delattr(torch._C, "_cuda_getDevice", raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert twice(torch_internals._find_current_device(), "_cuda_getDevice") == (3, 3)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert torch_internals._find_current_device() is None


def test_the_stream_by_public_api(monkeypatch):
    """Without _cuda_getCurrentRawStream the address of torch.cuda's current stream is taken."""
    monkeypatch.delattr(torch._C, "_cuda_getCurrentRawStream", raising=False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: types.SimpleNamespace(cuda_stream=900 + index))  # fmt: skip
    found = torch_internals._find_raw_stream()
    assert twice(lambda: found(1), "_cuda_getCurrentRawStream") == (901, 901)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_precision_by_public_api(monkeypatch, allowed):
    """Without its private reader, the precision of convolutions is that of torch's public setting."""
    found = without(monkeypatch, "_get_fp32_precision_getter", torch_internals._find_conv_precision)
    monkeypatch.setattr(normalise, "conv_precision", found)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    assert twice(normalise.allow_tf32, "_get_fp32_precision_getter") == (allowed, allowed)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_precision_of_an_older_torch(monkeypatch, allowed):
    """A torch that has allow_tf32 only lacks nothing: that is read, without a warning."""
    monkeypatch.delattr(torch._C, "_get_fp32_precision_getter")
    monkeypatch.setattr(torch.backends, "cudnn", types.SimpleNamespace(allow_tf32=allowed))
    monkeypatch.setattr(normalise, "conv_precision", torch_internals._find_conv_precision())
    assert normalise.allow_tf32() is allowed


@pytest.fixture
def gpu(monkeypatch):
    """Torch takes itself for a build with CUDA and a GPU; nothing is known of its allocator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    torch_internals.fast_cuda_empty.cache_clear()
    yield torch_internals.fast_cuda_empty
    torch_internals.fast_cuda_empty.cache_clear()


def on_gpu(shape, strides, dtype):
    return types.SimpleNamespace(shape=shape, stride=lambda: strides, dtype=dtype, is_cuda=True)


def test_the_allocator_is_checked(monkeypatch, gpu):
    """An allocator that gives what is asked for is used as it is."""
    monkeypatch.setattr(torch._C._dynamo.guards, "_empty_strided_cuda", on_gpu)
    assert gpu() is on_gpu


@pytest.mark.parametrize("wrong", ["missing", "its module is missing", "other arguments", "other strides"])
def test_outputs_by_public_api(monkeypatch, gpu, wrong):
    """Without the private allocator, or with one that gives something else, torch.empty_strided allocates."""
    if wrong == "missing":
        monkeypatch.delattr(torch._C._dynamo.guards, "_empty_strided_cuda")
    elif wrong == "its module is missing":
        monkeypatch.delattr(torch._C, "_dynamo")
    elif wrong == "other arguments":
        monkeypatch.setattr(torch._C._dynamo.guards, "_empty_strided_cuda", lambda _: None)
    else:
        monkeypatch.setattr(torch._C._dynamo.guards, "_empty_strided_cuda", lambda shape, _, dtype: on_gpu(shape, (3, 1), dtype))  # fmt: skip
    from awkward import problem

    asked = problem("conv1d", n=2)
    run = twice(lambda: launch.convolution_plan(asked, lambda *given: given[3].fill_(5), lambda w: w), "_empty_strided_cuda")[1]  # fmt: skip
    out = run(torch.zeros(asked.input_shape), torch.zeros(asked.weight_shape), None)
    assert out.shape == asked.output_shape
    assert (out == 5).all()


@pytest.mark.parametrize("wrong", ["missing", "still"])
def test_weights_without_versions(monkeypatch, wrong):
    """Without a version counter, or with one that stands still, a weight is packed in every call: no change goes unseen."""
    torch_internals.versions_are_counted.cache_clear()
    if wrong == "missing":
        monkeypatch.setattr(
            torch.Tensor, "_version", property(lambda tensor: tensor.no_such_name), raising=False
        )
    else:
        monkeypatch.setattr(torch.Tensor, "_version", 0, raising=False)
    try:
        packer = twice(lambda: cache.Packer(lambda weight: weight + 1), "_version")[1]
    finally:
        torch_internals.versions_are_counted.cache_clear()
    weight = torch.zeros(3)
    assert torch.equal(packer(weight), weight + 1)
    weight.add_(5)
    assert torch.equal(packer(weight), weight + 1)
    assert not packer._entries


def test_nothing_is_missing():
    """In the torch that is installed, every name that a build without CUDA has is there and used."""
    assert torch_internals.functorch_layer is torch._C._functorch.peek_interpreter_stack
    assert torch_internals.dispatch_modes is torch._C._len_torch_dispatch_stack
    assert torch_internals.tracing_state is torch._C._get_tracing_state
    assert torch_internals.conv_precision is torch._C._get_fp32_precision_getter
    assert torch_internals.forward_state is torch.autograd.forward_ad
    assert torch_internals._tensor_guards() is torch._C._dynamo.guards.TensorGuards
    torch_internals.versions_are_counted.cache_clear()
    assert torch_internals.versions_are_counted()
