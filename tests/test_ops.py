"""The six operations where torch answers: its results, its errors, its transformations."""

import ast
import inspect

import pytest
import torch
from awkward import AWKWARD
from isolated_plans import isolate
from torch.nn import functional

import tunedb
from tunedb.errors import DeviceError, ProblemError
from tunedb.problem import OPS, is_transposed, rank


@pytest.fixture(autouse=True)
def no_plans(monkeypatch):
    """Plans of this test alone, and no files of the user's or shipped ones."""
    isolate(monkeypatch)


def tensors(op, n=2, c=(4, 6), extent=7, k=3, groups=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    axes = rank(op)
    lead = (c[0], c[1] // groups) if is_transposed(op) else (c[1], c[0] // groups)
    shapes = ((n, c[0], *(extent,) * axes), (*lead, *(k,) * axes), (c[1],))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def both(op, *args, **kwargs):
    return getattr(tunedb, op)(*args, **kwargs), getattr(functional, op)(*args, **kwargs)


def same(op, *args, **kwargs):
    ours, theirs = both(op, *args, **kwargs)
    assert torch.equal(ours, theirs)
    assert (ours.dtype, ours.shape, ours.stride()) == (theirs.dtype, theirs.shape, theirs.stride())


def outcome(function, *args, **kwargs):
    """What a call gives: the class and message of its error, or the shape of its result."""
    try:
        return tuple(function(*args, **kwargs).shape)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other side has to raise the same)
        return type(error), str(error)


@pytest.mark.parametrize("op", OPS)
def test_signature_is_torchs(op):
    """Names, order and defaults of the arguments are those that torch documents."""
    function = getattr(tunedb, op)
    line = next(line for line in getattr(functional, op).__doc__.splitlines() if line.strip())
    documented = ast.parse(f"def {line.split('->')[0].strip()}: ...").body[0].args
    code = function.__code__
    assert list(code.co_varnames[: code.co_argcount]) == [argument.arg for argument in documented.args]
    assert list(function.__defaults__) == [ast.literal_eval(default) for default in documented.defaults]


@pytest.mark.parametrize("reason", AWKWARD)
def test_awkward_problems(reason):
    """Every awkward problem gives torch's result, in its dtype and layout."""
    asked, dtype = AWKWARD[reason], getattr(torch, AWKWARD[reason].dtype)
    generator = torch.Generator().manual_seed(5)
    x, weight = (torch.randn(shape, generator=generator).to(dtype) for shape in (asked.input_shape, asked.weight_shape))  # fmt: skip
    if asked.layout == "channels_last":
        x = x.to(memory_format=torch.channels_last if asked.rank == 2 else torch.channels_last_3d)
    bias = torch.ones(asked.c_out, dtype=dtype) if asked.bias else None
    lead = 3 - asked.rank
    names = ("stride", "padding", "dilation", *(("output_padding",) if asked.transposed else ()))
    sizes = {name: getattr(asked, name)[lead:] for name in names}
    same(asked.op, x, weight, bias, groups=asked.groups, **sizes)


@pytest.mark.parametrize("op", OPS)
def test_forms_of_arguments(op):
    """Arguments by position and by name, numbers, tuples and lists, with a batch and without are torch's."""
    x, weight, bias = tensors(op)
    axes = rank(op)
    same(op, x, weight)
    same(op, x[0], weight, bias)
    same(op, x, weight, bias, 2, 1)
    same(op, input=x, weight=weight, bias=bias, stride=[2] * axes, padding=(1,), dilation=[1])
    if is_transposed(op):
        same(op, x, weight, bias, 2, 1, 1, 1, 1)
        same(op, x, weight, stride=3, output_padding=[2] * axes)
    else:
        same(op, x, weight, bias, 1, "same", 2)
        same(op, x, weight, padding="valid", stride=2)
    same(op, x[..., ::2], weight.transpose(0, 1).contiguous().transpose(0, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("op", OPS)
def test_any_dtype(op, dtype):
    """Dtypes that tunedb has no kernels for give torch's result."""
    x, weight, bias = tensors(op, groups=2, dtype=dtype)
    same(op, x, weight, bias, groups=2)


WRONG = {
    "channels": lambda x, w, _b: ((x[:, :3], w), {}),
    "bias": lambda x, w, b: ((x, w, b[:3]), {}),
    "bias of another dtype": lambda x, w, b: ((x, w, b.double()), {}),
    "weight of another dtype": lambda x, w, _b: ((x, w.double()), {}),
    "weight of another rank": lambda x, w, _b: ((x, w[0]), {}),
    "too few dimensions": lambda x, w, _b: ((x[0, 0], w), {}),
    "too many dimensions": lambda x, w, _b: ((x[None], w), {}),
    "integers": lambda x, w, _b: ((x.int(), w.int()), {}),
    "groups that do not divide": lambda x, w, _b: ((x, w), {"groups": 3}),
    "no groups": lambda x, w, _b: ((x, w), {"groups": 0}),
    "groups that is no number": lambda x, w, _b: ((x, w), {"groups": "1"}),
    "stride 0": lambda x, w, _b: ((x, w), {"stride": 0}),
    "negative stride": lambda x, w, _b: ((x, w), {"stride": -1}),
    "stride of a fraction": lambda x, w, _b: ((x, w), {"stride": 1.5}),
    "strides of fractions": lambda x, w, _b: ((x, w), {"stride": [1.5]}),
    "too many strides": lambda x, w, _b: ((x, w), {"stride": (1, 1, 1, 1)}),
    "no strides": lambda x, w, _b: ((x, w), {"stride": ()}),
    "nested strides": lambda x, w, _b: ((x, w), {"stride": [[1]]}),
    "stride that is a set": lambda x, w, _b: ((x, w), {"stride": {1}}),
    "negative padding": lambda x, w, _b: ((x, w), {"padding": -1}),
    "unknown padding": lambda x, w, _b: ((x, w), {"padding": "full"}),
    "named padding and stride": lambda x, w, _b: ((x, w), {"padding": "same", "stride": 2}),
    "dilation 0": lambda x, w, _b: ((x, w), {"dilation": 0}),
    "nothing": lambda _x, _w, _b: ((None, None), {}),
    "no input": lambda _x, w, _b: ((None, w), {}),
    "no weight": lambda x, _w, _b: ((x, None), {}),
    "a list for a tensor": lambda _x, w, _b: (([1.0], w), {}),
    "kernel beyond the input": lambda x, w, _b: ((x[..., :1], w), {}),
    "meta weight": lambda x, w, _b: ((x, w.to("meta")), {}),
    "sparse input": lambda x, w, _b: ((x.to_sparse(), w), {}),
}


@pytest.mark.parametrize("op", OPS)
def test_errors_are_torchs(op):
    """Wrong arguments raise torch's own error, class and message, and what torch lets pass gives its result."""
    raised, ours = 0, getattr(tunedb, op)
    for what, spoil in WRONG.items():
        args, kwargs = spoil(*tensors(op))
        # By position on both sides: torch's messages name the position of an argument only where it has one.
        bound = inspect.signature(ours).bind(*args, **kwargs)
        bound.apply_defaults()
        theirs = outcome(getattr(functional, op), *bound.args)
        assert outcome(ours, *args, **kwargs) == theirs, what
        raised += isinstance(theirs[0], type)
    assert raised >= 20
    if is_transposed(op):
        x, weight, _ = tensors(op)
        wrong = outcome(getattr(functional, op), x, weight, output_padding=2, stride=2)
        assert outcome(getattr(tunedb, op), x, weight, output_padding=2, stride=2) == wrong
        assert isinstance(wrong[0], type)


@pytest.mark.parametrize("op", OPS)
def test_empty(op):
    """Empty batches give torch's result and empty channels torch's error."""
    x, weight, bias = tensors(op, n=0)
    same(op, x, weight, bias)
    empty = torch.zeros(2, 0, *(7,) * rank(op)), torch.zeros(0, 6, *(3,) * rank(op))
    assert outcome(getattr(tunedb, op), *empty) == outcome(getattr(functional, op), *empty)


@pytest.mark.parametrize("op", OPS)
def test_gradients(op):
    """Gradients of input, weight and bias are torch's."""
    grads = []
    for function in (getattr(tunedb, op), getattr(functional, op)):
        leaves = [tensor.requires_grad_() for tensor in tensors(op)]
        function(*leaves, stride=2).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*grads, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("op", OPS)
def test_meta(op):
    """Meta tensors give a meta tensor of torch's shape, dtype and layout."""
    x, weight, bias = (tensor.to("meta") for tensor in tensors(op))
    ours, theirs = both(op, x, weight, bias, stride=2)
    assert ours.is_meta
    assert (ours.shape, ours.dtype, ours.stride()) == (theirs.shape, theirs.dtype, theirs.stride())


def test_vmap():
    """torch.vmap maps an operation over inputs and over weights."""
    x, weight, bias = tensors("conv1d")
    stacked = torch.stack([weight, -weight])
    ours = torch.vmap(lambda one: tunedb.conv1d(x, one, bias))(stacked)
    assert torch.equal(ours, torch.vmap(lambda one: functional.conv1d(x, one, bias))(stacked))
    ours = torch.vmap(lambda one: tunedb.conv1d(one, weight))(x)
    assert torch.allclose(ours, functional.conv1d(x, weight), atol=1e-5)


def test_functional_derivatives():
    """torch.func.grad and forward-mode derivatives go through an operation."""
    x, weight, _ = tensors("conv_transpose1d")
    ours = torch.func.grad(lambda one: tunedb.conv_transpose1d(x, one).square().sum())(weight)
    assert torch.equal(ours, torch.func.grad(lambda one: functional.conv_transpose1d(x, one).square().sum())(weight))  # fmt: skip
    _, tangent = torch.func.jvp(lambda one: tunedb.conv_transpose1d(one, weight), (x,), (x,))
    assert torch.allclose(tangent, functional.conv_transpose1d(x, weight), atol=1e-4)


def test_compile():
    """torch.compile traces through an operation without a break in the graph, and sees torch's own."""
    graphs = []

    def backend(graph, _):
        graphs.append(str(graph.code))
        return graph.forward

    x, weight, bias = tensors("conv2d")

    def net(x):
        return tunedb.conv2d(x, weight, bias, padding=1).relu() + 1

    with torch.no_grad():
        assert torch.equal(torch.compile(net, fullgraph=True, backend=backend)(x), net(x))
    assert len(graphs) == 1
    assert "conv2d" in graphs[0]


def test_tracing():
    """torch.jit.trace and torch.fx record torch's own operation."""
    x, weight, _ = tensors("conv2d")
    graph = torch.fx.symbolic_trace(lambda x: tunedb.conv2d(x, weight, stride=2))
    assert functional.conv2d in {node.target for node in graph.graph.nodes}
    assert torch.equal(graph(x), functional.conv2d(x, weight, stride=2))


def test_autocast():
    """Under autocast the result has autocast's dtype."""
    x, weight, bias = tensors("conv2d")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tunedb.conv2d(x, weight, bias).dtype == torch.bfloat16


@pytest.mark.parametrize("op", OPS)
def test_explain(op, shelf):
    """Tensors on the CPU or on meta are explained for a GPU that is named: the problem, the tier, the floor."""
    x, weight, bias = tensors(op)
    found = tunedb.explain(op, x.to("meta"), weight.to("meta"), bias.to("meta"), 2, device="4090")
    assert found == tunedb.explain(op, x, weight, bias=bias, stride=[2], device="4090")
    assert found.problem.op == op
    assert found.problem.stride[-1] == 2
    assert (found.device.slug, found.answer.tier) == ("4090", "aten")
    assert found.floor_us > 0


def test_explain_errors(shelf):
    """What cannot be explained is refused in words: operation, device, arguments, and calls that are torch's."""
    x, weight, bias = tensors("conv2d")
    for args, kwargs, kind, message in (
        (("conv4d", x, weight), {}, ProblemError, "op must be one of conv1d, .* but got 'conv4d'"),
        (("conv2d", x, weight), {}, DeviceError, "device must be named for tensors on cpu, as in device='4090'"),
        (("conv2d", x, weight), {"device": "9090"}, DeviceError, "device must be one of 3090, .* but got '9090'"),
        (("conv2d", x, weight), {"device": "4090", "strides": 2}, ProblemError, "a conv2d takes bias, stride, padding, dilation, groups after input and weight, but got 0 arguments and strides"),
        (("conv2d", x, weight, bias, 1, 0, 1, 1, 1), {"device": "4090"}, ProblemError, "but got 6 arguments"),
        (("conv2d", x.double(), weight.double()), {"device": "4090"}, ProblemError, "torch answers this call itself: .*not for float64"),
        (("conv2d", x, weight, bias[:2]), {"device": "4090"}, ProblemError, "the channels of input, weight and bias do not agree"),
        (("conv2d", x, weight), {"device": "4090", "output_padding": 1}, ProblemError, "output_padding of a conv2d must be 0"),
        (("conv2d", x, weight), {"device": "4090", "stride": 0}, ProblemError, "stride_h must be an integer of at least 1"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            tunedb.explain(*args, **kwargs)
