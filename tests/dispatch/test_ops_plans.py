"""Which calls run a plan, and which plan: the key of a call, its guards, and where torch answers instead."""

import pytest
import torch
from isolated_plans import Planner, isolate
from torch.autograd import forward_ad
from torch.nn import functional

import tunedb
from tunedb.dispatch import calls
from tunedb.problem import is_transposed, rank


def tensors(op, n=2, c=(4, 6), extent=7, k=3, groups=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    axes = rank(op)
    lead = (c[0], c[1] // groups) if is_transposed(op) else (c[1], c[0] // groups)
    shapes = ((n, c[0], *(extent,) * axes), (*lead, *(k,) * axes), (c[1],))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.fixture
def planner(monkeypatch):
    """Plans that are noted by their sizes."""
    found = Planner(lambda op, _x, _weight, sizes: (op, sizes))
    isolate(monkeypatch, found.make_plan)
    return found


def test_one_plan_for_a_signature(planner):
    """Calls of one signature share a plan, whatever the values, a parameter in place of a tensor included."""
    x, weight, bias = tensors("conv2d")
    for given_weight in (weight, weight + 1, torch.nn.Parameter(weight)):
        with torch.no_grad():
            assert tunedb.conv2d(x, given_weight, bias, 2).shape == (1,)
    assert planner.asked == [("conv2d", (2, 0, 0, 1, 1))]
    assert planner.ran == 3


def test_lists_are_tuples(planner):
    """Sizes in lists find the plan of the same sizes in tuples."""
    x, weight, _ = tensors("conv2d")
    tunedb.conv2d(x, weight, stride=(2, 1), padding=(1, 1))
    tunedb.conv2d(x, weight, stride=[2, 1], padding=[1, 1])
    assert planner.asked == [("conv2d", ((2, 1), (1, 1), 0, 1, 1))]
    assert planner.ran == 2


def test_every_part_of_a_signature_counts(planner):
    """Another operation, shape, stride, dtype, bias or size is another plan."""
    x, weight, bias = tensors("conv2d", c=(4, 4))
    square = weight.clone(memory_format=torch.channels_last)
    calls = [
        ("conv2d", (x, weight), {}), ("conv2d", (x, weight, bias), {}), ("conv2d", (x[:1], weight), {}),
        ("conv2d", (x[:, :, :6], weight), {}), ("conv2d", (x.to(memory_format=torch.channels_last), weight), {}),
        ("conv2d", (x, square), {}), ("conv2d", (x.half(), weight.half()), {}),
        ("conv2d", (x.bfloat16(), weight.bfloat16()), {}), ("conv2d", (x, weight[:2]), {}),
        ("conv2d", (x, weight), {"stride": 2}), ("conv2d", (x, weight), {"padding": 2}),
        ("conv2d", (x, weight), {"padding": "same"}), ("conv2d", (x, weight), {"dilation": 2}),
        ("conv2d", (x, weight[:, :2]), {"groups": 2}), ("conv_transpose2d", (x, weight), {}),
        ("conv_transpose2d", (x, weight), {"stride": 2}), ("conv_transpose2d", (x, weight), {"stride": 2, "output_padding": 1}),
        ("conv2d", (x[0], weight), {}),
    ]  # fmt: skip
    for op, args, kwargs in calls * 2:
        getattr(tunedb, op)(*args, **kwargs)
    assert len(planner.asked) == len(calls)
    assert planner.ran == 2 * len(calls)


def test_precision_is_part_of_the_signature(planner):
    """A change of torch's TF32 setting is seen by the next call."""
    x, weight, _ = tensors("conv2d")
    before = torch.backends.cudnn.allow_tf32
    try:
        for allowed in (True, False, True, False):
            torch.backends.cudnn.allow_tf32 = allowed
            tunedb.conv2d(x, weight)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert len(planner.asked) == 2


def test_plans_are_bounded(planner, monkeypatch):
    """A service that sees a new length in every call does not keep a plan for each for ever."""
    monkeypatch.setattr(calls, "LIMIT", 4)
    _, weight, _ = tensors("conv1d")
    for length in range(5, 25):
        tunedb.conv1d(torch.zeros(1, 4, length), weight)
    assert len(calls._plans) <= 4
    assert planner.ran == 20


def test_clear_forgets_plans(planner):
    """After tunedb.clear() a call is planned anew."""
    x, weight, _ = tensors("conv1d")
    tunedb.conv1d(x, weight)
    tunedb.clear()
    tunedb.conv1d(x, weight)
    assert len(planner.asked) == 2


def test_calls_that_torch_must_see(planner):
    """Where a gradient is asked for, under autocast, vmap, compilation and modes, and for subclasses, no plan runs."""
    x, weight, bias = tensors("conv1d")
    leaf = weight.clone().requires_grad_()

    class Marked(torch.Tensor):
        pass

    class Mode(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    expected = functional.conv1d(x, weight, bias)
    assert torch.equal(tunedb.conv1d(x, leaf, bias), expected)
    assert torch.equal(tunedb.conv1d(x, weight, bias.clone().requires_grad_()), expected)
    assert torch.equal(tunedb.conv1d(x.clone().requires_grad_(), weight, bias), expected)
    assert torch.equal(tunedb.conv1d(x.as_subclass(Marked), weight, bias), expected)
    assert torch.equal(tunedb.conv1d(x, weight.as_subclass(Marked), bias), expected)
    with Mode():
        assert torch.equal(tunedb.conv1d(x, weight, bias), expected)
    torch.set_autocast_enabled("cuda", True)
    try:
        assert torch.equal(tunedb.conv1d(x, weight, bias), expected)
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert torch.vmap(lambda one: tunedb.conv1d(one, weight))(x).shape == expected.shape
    assert planner.ran == 0
    with torch.no_grad():
        tunedb.conv1d(x, leaf, bias)
    assert planner.ran == 1


def test_unaligned_views_go_to_torch(planner):
    """Compiled code assumes aligned addresses: a view that starts elsewhere is torch's, though it shares a signature."""
    _, weight, _ = tensors("conv1d")
    store = torch.randn(2 * 4 * 7 + 8)
    base = (-store.data_ptr() // 4) % 4  # elements to the next 16 bytes
    aligned = store[base : base + 56].view(2, 4, 7)
    odd = store[base + 1 : base + 57].view(2, 4, 7)
    tunedb.conv1d(aligned, weight)
    assert planner.ran == 1
    assert torch.equal(tunedb.conv1d(odd, weight), functional.conv1d(odd, weight))
    bias = torch.randn(16)
    shift = (-bias.data_ptr() // 4) % 4
    assert torch.equal(tunedb.conv1d(aligned, weight, bias[shift + 1 : shift + 7]), functional.conv1d(aligned, weight, bias[shift + 1 : shift + 7]))  # fmt: skip
    assert planner.ran == 1


def test_other_gpus(planner, monkeypatch):
    """A plan runs with its own CUDA device current, whichever is current at the call."""
    entered = []

    class Guard:
        def __init__(self, index):
            self.index = index

        def __enter__(self):
            entered.append(self.index)

        def __exit__(self, *_):
            entered.append("left")

    monkeypatch.setattr(torch.cuda, "device", Guard)
    monkeypatch.setattr(calls, "_device_index", lambda: 3)
    x, weight, _ = tensors("conv1d")
    tunedb.conv1d(x, weight)
    assert entered == [0, "left"]
    monkeypatch.setattr(calls, "_device_index", lambda: 0)
    tunedb.conv1d(x, weight)
    assert entered == [0, "left"]


def test_explain_runs_nothing(planner, shelf):
    """An explanation makes no plan and needs no data."""
    x, weight, _ = tensors("conv2d")
    assert tunedb.explain("conv2d", x.to("meta"), weight.to("meta"), device="h200")
    assert not planner.asked


def test_forward_mode_derivatives(planner):
    """A dual number keeps its tangent: torch's own operation sees it."""
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    with forward_ad.dual_level():
        out = tunedb.conv1d(forward_ad.make_dual(x, torch.ones_like(x)), weight)
        assert forward_ad.unpack_dual(out).tangent is not None
    assert planner.ran == 0


@pytest.mark.parametrize(
    "sizes",
    [
        {"stride": 1.0},
        {"stride": True},
        {"dilation": (1.0,)},
        {"groups": True},
        {"groups": 1.0},
        {"padding": False},
    ],
)
def test_equal_is_not_the_same(planner, sizes):
    """1.0 and True equal 1, but torch refuses them: they find no plan, and leave none behind."""
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    tunedb.conv1d(x, weight, dilation=(1,))
    tunedb.conv1d(x, weight)
    with pytest.raises(TypeError):
        functional.conv1d(x, weight, **sizes)
    with pytest.raises(TypeError):
        tunedb.conv1d(x, weight, **sizes)


def test_explain_says_a_sentence(shelf):
    """A refusal ends in one full stop, and an argument given twice is refused."""
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    with pytest.raises(tunedb.ProblemError) as raised:
        tunedb.explain("conv1d", x, weight, stride=0, device="4090")
    assert not str(raised.value).endswith("..")
    with pytest.raises((tunedb.ProblemError, TypeError)):
        tunedb.explain("conv1d", x, weight, None, 1, stride=2, device="4090")
