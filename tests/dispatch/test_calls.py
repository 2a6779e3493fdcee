"""What is remembered of a weight's last call, and what makes it look again."""

import gc
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

import tunedb
from tunedb import torch_internals
from tunedb.dispatch import calls, plans

X, WEIGHT, BIAS = torch.randn(2, 4, 7, 7), torch.randn(4, 4, 3, 3), torch.randn(4)


def test_the_second_call_is_recognised(planner, searched):
    """A weight's next call with the same shape looks nothing up, with torch's answer as with a plan's."""
    for _ in range(3):
        tunedb.conv2d(X, WEIGHT, BIAS, 2, (1, 1))
    planner.torchs.add("conv_transpose2d")
    for _ in range(3):
        tunedb.conv_transpose2d(X, WEIGHT, BIAS)
    assert searched == ["conv2d", "conv_transpose2d"]
    assert planner.ran == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w, b: (x[:1], w, b),
        lambda x, w, b: (x.to(memory_format=torch.channels_last), w, b),
        lambda x, w, b: (x.half(), w.half(), b.half()),
        lambda x, w, b: (x, w.clone(), b),
        lambda x, w, _: (x, w, None),
        lambda x, w, b: (x, w, b[:1].expand(4)),
        lambda x, w, b: (x, w, b.half()),
        lambda x, w, b: (x.to("meta"), w, b),
    ],
)
def test_another_tensor_is_looked_up(planner, searched, change):
    """Another shape, stride, dtype, device or weight is no longer the call that was remembered."""
    tunedb.conv2d(X, WEIGHT, BIAS)
    tunedb.conv2d(*change(X, WEIGHT, BIAS))
    assert len(searched) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.data.half(),
        lambda w: w.data.to(memory_format=torch.channels_last),
        lambda w: w.data[:2],
        lambda w: w.data.transpose(2, 3),
        lambda w: w.data.view(torch.int32),
    ],
)
def test_a_weight_whose_data_was_replaced_is_looked_up(planner, searched, change):
    """The same parameter with other data, as `.half()` and `.to()` of a module leave it, is not taken for the old one."""
    weight = torch.nn.Parameter(WEIGHT.clone(), requires_grad=False)
    tunedb.conv2d(X, weight)
    weight.requires_grad = False
    weight.data = change(weight)
    tunedb.conv2d(X, weight)
    assert len(searched) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w: (x[:1], w),
        lambda x, w: (x.to(memory_format=torch.channels_last), w),
        lambda x, w: (x.to("meta"), w),
        lambda x, w: (x.half(), _replaced(w, w.half())),
        lambda x, w: (x, _replaced(w, w.to(memory_format=torch.channels_last))),
        lambda x, w: (x, _replaced(w, w[:2].clone())),
    ],
)
def test_torchs_answer_is_looked_up_again_for_other_tensors(planner, searched, change):
    """Of a call that torch answers less is compared; another input, or other data of the weight, may have a better answer."""
    planner.torchs.add("conv2d")
    weight = torch.nn.Parameter(WEIGHT.clone(), requires_grad=False)
    tunedb.conv2d(X, weight)
    tunedb.conv2d(X, weight.mul_(2))
    assert len(searched) == 1
    tunedb.conv2d(*change(X, weight))
    assert len(searched) == 2


def _replaced(weight, data):
    weight.data = data
    return weight


def test_values_are_not_looked_up(planner, searched):
    """A bias, an input and new data of a weight that are like those of the last call have the same plan."""
    weight = torch.nn.Parameter(WEIGHT.clone(), requires_grad=False)
    tunedb.conv2d(X, weight, BIAS)
    weight.data = weight.data.clone()
    tunedb.conv2d(X + 1, weight, BIAS.clone())
    assert len(searched) == 1
    assert planner.ran == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_modes_of_autograd_change_no_answer(planner, mode):
    """A call inside inference_mode has the plan of one outside, and the next one outside too."""
    for _ in range(2):
        tunedb.conv2d(X, WEIGHT, BIAS)
        with mode():
            tunedb.conv2d(X, WEIGHT, BIAS)
            tunedb.conv2d(X.clone(), WEIGHT, BIAS)
    assert planner.ran == 6
    assert len(planner.asked) == 1


def test_modes_that_torch_must_see_after_a_call(planner):
    """What is remembered does not run inside a transform, a mode, a trace or a level of forward-mode differentiation."""
    from torch._subclasses import FakeTensorMode
    from torch.autograd import forward_ad

    class Mode(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    expected = functional.conv2d(X, WEIGHT, BIAS)
    tunedb.conv2d(X, WEIGHT, BIAS)
    with Mode():
        assert torch.equal(tunedb.conv2d(X, WEIGHT, BIAS), expected)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert tunedb.conv2d(X, WEIGHT, BIAS).shape == expected.shape
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, torch.ones_like(X))
        assert forward_ad.unpack_dual(tunedb.conv2d(dual, WEIGHT, BIAS)).tangent is not None
    traced = torch.jit.trace(lambda x: tunedb.conv2d(x, WEIGHT, BIAS), (X,), check_trace=False)
    assert "conv" in str(traced.graph)
    assert torch.vmap(lambda _: tunedb.conv2d(X, WEIGHT, BIAS))(torch.zeros(3)).shape == (3, *expected.shape)
    before = planner.ran
    x = X.clone().requires_grad_()
    assert torch.func.grad(lambda x: tunedb.conv2d(x, WEIGHT, BIAS).sum())(X).shape == X.shape
    assert tunedb.conv2d(x, WEIGHT, BIAS).requires_grad
    assert planner.ran == before == 1


@pytest.mark.parametrize(
    "wrong", [None, lambda *_: None, lambda *_, **__: SimpleNamespace(check=lambda *_: True)]
)
def test_calls_without_guards_of_tensors(planner, monkeypatch, wrong):
    """Where torch has no guards, or ones that take any tensor, each call is found by its signature, and its plan runs."""
    monkeypatch.setattr(torch._C._dynamo.guards, "TensorGuards", wrong)
    monkeypatch.setattr(torch_internals, "_said", set())
    torch_internals._tensor_guards.cache_clear()
    try:
        with pytest.warns(tunedb.TunedbWarning, match="TensorGuards"):
            tunedb.conv2d(X, WEIGHT)
        tunedb.conv2d(X, WEIGHT)
    finally:
        torch_internals._tensor_guards.cache_clear()
    assert planner.ran == 2
    assert len(planner.asked) == 1
    assert not calls._latest


def test_other_sizes_are_looked_up(planner, searched):
    """Other sizes, and equal ones of another type, are not taken for those of the last call."""
    for sizes in ({}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 1, "stride": (1, 1)}):
        tunedb.conv2d(X, WEIGHT, **sizes)
    assert len(searched) == 5
    with pytest.raises(TypeError):
        tunedb.conv2d(X, WEIGHT, stride=1.0)


def test_guards_hold_for_a_remembered_call(planner):
    """A remembered plan does not run where torch must see the call."""
    weight = WEIGHT.clone()
    expected = functional.conv2d(X, weight, BIAS)
    tunedb.conv2d(X, weight, BIAS)
    assert planner.ran == 1
    weight.requires_grad_()
    assert torch.equal(tunedb.conv2d(X, weight, BIAS), expected)
    with torch.no_grad():
        tunedb.conv2d(X, weight, BIAS)
    assert planner.ran == 2
    torch.set_autocast_enabled("cuda", True)
    try:
        assert torch.equal(tunedb.conv2d(X, weight.detach_(), BIAS), expected)
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert planner.ran == 2


def test_a_memo_goes_with_its_weight(planner):
    """Weights that are made anew in every call leave nothing behind."""
    for _ in range(50):
        tunedb.conv2d(X, WEIGHT + 1, BIAS)
    gc.collect()
    assert not calls._latest


def test_memos_are_bounded(planner, monkeypatch):
    """A weight that sees a new length in every call does not keep a memo for each."""
    monkeypatch.setattr(calls, "LIMIT", 4)
    weight = torch.randn(4, 4, 3)
    for length in range(5, 25):
        tunedb.conv1d(torch.zeros(1, 4, length), weight)
    assert len(calls._latest) <= 4
    assert planner.ran == 20


def test_replaced_functions_do_not_recurse(planner, monkeypatch):
    """With tunedb's functions in the place of torch's, torch still answers what is torch's."""
    planner.torchs |= {"conv2d", "conv_transpose2d"}
    expected = torch.conv2d(X, WEIGHT, BIAS)
    for op in ("conv2d", "conv_transpose2d"):
        monkeypatch.setattr(functional, op, getattr(tunedb, op))
    for _ in range(2):
        assert torch.equal(functional.conv2d(X, WEIGHT, BIAS), expected)
        functional.conv_transpose2d(X, WEIGHT, BIAS)
    net = torch.nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")
    assert net(X).shape == (2, 6, 7, 7)


def test_torchs_kernel_is_torchs_where_functions_are_replaced(monkeypatch):
    """The kernel aten, made into a plan after the replacement, calls torch."""
    from tunedb.kernel import load

    monkeypatch.setattr(functional, "conv2d", tunedb.conv2d)
    problem = plans.normalised("conv2d", X, WEIGHT, None, 1, 0, 0, 1, 1).problem
    aten = load("aten")
    assert torch.equal(aten.plan(problem, aten.Config(), None)(X, WEIGHT, None), torch.conv2d(X, WEIGHT))


def test_a_cold_call_during_a_capture_is_torchs(planner, monkeypatch):
    """While a CUDA graph is captured no plan is made, and the next call outside makes it."""
    capturing = [True]
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    assert torch.equal(tunedb.conv2d(X, WEIGHT), functional.conv2d(X, WEIGHT))
    assert not planner.asked
    capturing[0] = False
    tunedb.conv2d(X, WEIGHT)
    assert planner.ran == 1
    capturing[0] = True
    tunedb.conv2d(X, WEIGHT)
    assert planner.ran == 2
