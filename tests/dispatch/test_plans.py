"""From a call to a plan, with the GPU, the databases and the kernels played by the test."""

import types

import pytest
import torch
from torch.nn import functional

from tunedb.device import by_slug
from tunedb.dispatch import lookup, plans
from tunedb.dispatch.lookup import Answer
from tunedb.dispatch.plans import Plan, make_plan
from tunedb.errors import TunedbWarning
from tunedb.kernel import load

H200 = by_slug("h200")
DEFAULTS = (1, 0, 0, 1, 1)  # stride, padding, output_padding, groups, dilation


class OnGpu(torch.Tensor):
    """A tensor on the CPU that says it is on the second GPU."""

    is_cuda = property(lambda _: True)
    device = property(lambda _: torch.device("cuda", 1))


def tensors(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator).to(dtype).as_subclass(OnGpu) for shape in shapes]


def plain(tensor):
    return tensor.as_subclass(torch.Tensor)


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose GPUs are H200s and whose kernels are torch's own; `answers` decides what lookup says."""
    played = types.SimpleNamespace(
        asked=[], loaded=[], answer=Answer("exact", "kernel", "config", None, "it won.")
    )

    def answer(problem, device):
        played.asked.append((problem, device))
        return played.answer

    def loaded(found, problem, index):
        played.loaded.append((found, problem, index))
        return load("aten").plan(problem, (), None)

    monkeypatch.setattr(plans, "_emulated", lambda: False)
    monkeypatch.setattr(plans, "current", lambda _: H200)
    monkeypatch.setattr(plans, "_loaded", loaded)
    monkeypatch.setattr(lookup, "answer", answer)
    return played


def test_cpu_is_torchs():
    """Off the GPU torch answers, without a lookup."""
    assert make_plan("conv1d", torch.zeros(1, 2, 5), torch.zeros(3, 2, 3), None, *DEFAULTS) == Plan(None, -1, "torch answers on cpu", DEFAULTS)  # fmt: skip
    assert "meta" in make_plan("conv1d", torch.zeros(1, 2, 5, device="meta"), torch.zeros(3, 2, 3), None, *DEFAULTS).why  # fmt: skip


def test_a_recorded_kernel_is_loaded(gpu):
    """The problem of the call is looked up for the tensors' GPU, and its kernel is loaded there."""
    x, weight, bias = tensors((2, 4, 9, 8), (4, 6, 3, 3), (6,))
    plan = make_plan("conv_transpose2d", x, weight, bias, 2, 1, 1, 1, 1)
    ((problem, device),) = gpu.asked
    assert device is H200
    assert problem.input_shape == (2, 4, 9, 8)
    assert (problem.op, problem.stride, problem.bias) == ("conv_transpose2d", (1, 2, 2), 1)
    assert gpu.loaded == [(gpu.answer, problem, 1)]
    assert (plan.device_index, plan.why) == (1, "it won.")
    assert torch.equal(plan.run(plain(x), plain(weight), plain(bias)), functional.conv_transpose2d(plain(x), plain(weight), plain(bias), 2, 1, 1))  # fmt: skip


def test_aten_is_torch_itself(gpu):
    """Where aten is the answer there is nothing to run: torch's own function is called."""
    gpu.answer = Answer("exact", "aten", None, None, "aten won.")
    assert make_plan("conv1d", *tensors((1, 2, 5), (3, 2, 3)), None, *DEFAULTS) == Plan(
        None, 1, "aten won.", DEFAULTS, "exact"
    )
    assert not gpu.loaded


@pytest.mark.parametrize(
    ("shapes", "sizes", "why"),
    [
        (((0, 2, 5), (3, 2, 3)), DEFAULTS, "empty tensors"),
        (((1, 0, 5), (3, 0, 3)), DEFAULTS, "empty tensors"),
        (((1, 2, 5), (3, 4, 3)), DEFAULTS, "the channels of input, weight and bias do not agree"),
        (((1, 2, 5), (3, 2, 9)), DEFAULTS, "the output must have at least 1 element"),
        (((1, 2, 5), (3, 2, 3)), (0, 0, 0, 1, 1), "stride_w must be an integer of at least 1"),
        (((1, 2, 5), (3, 2, 3)), ("a", 0, 0, 1, 1), "none that torch takes"),
    ],
)
def test_calls_without_a_problem(gpu, shapes, sizes, why):
    """Empty tensors and wrong arguments raise nothing here: torch answers, and nothing is looked up."""
    plan = make_plan("conv1d", *tensors(*shapes), None, *sizes)
    assert plan.run is None
    assert why in plan.why
    assert not gpu.asked


def test_unsupported_dtype(gpu):
    """A dtype that no kernel has is torch's."""
    plan = make_plan("conv1d", *tensors((1, 2, 5), (3, 2, 3), dtype=torch.float64), None, *DEFAULTS)
    assert plan.run is None
    assert "not for float64" in plan.why


def test_other_vendors_are_torchs(gpu, monkeypatch):
    """A GPU that torch drives without CUDA is torch's."""
    monkeypatch.setattr(plans, "_emulated", lambda: True)
    assert make_plan("conv1d", *tensors((1, 2, 5), (3, 2, 3)), None, *DEFAULTS).run is None
    assert not gpu.asked


def test_a_kernel_that_does_not_load(gpu, monkeypatch):
    """A kernel that the compiler or the driver refuses costs one warning that says what to do; torch answers."""

    def fails(*_):
        raise RuntimeError("PTX is of another time")

    monkeypatch.setattr(plans, "_loaded", fails)
    with pytest.warns(TunedbWarning, match="kernel cannot run on h200 and torch answers instead: PTX is of another time. Sweep"):  # fmt: skip
        plan = make_plan("conv1d", *tensors((1, 2, 5), (3, 2, 3)), None, *DEFAULTS)
    assert plan.run is None
    assert plan.device_index == 1
    assert "failed to load: PTX is of another time" in plan.why


FORMS = {
    "dense": ("conv2d", lambda x: x, 1),
    "unbatched": ("conv2d", lambda x: x[0], 1),
    "sliced": ("conv2d", lambda x: x[:, :, ::2], 1),
    "transposed": ("conv2d", lambda x: x.transpose(2, 3), 1),
    "expanded": ("conv2d", lambda x: x[:1].expand(3, -1, -1, -1), 1),
    "channels_last": ("conv2d", lambda x: x.contiguous(memory_format=torch.channels_last), 1),
    "sliced channels_last": ("conv2d", lambda x: x.contiguous(memory_format=torch.channels_last)[..., 1:], 1),
    "same": ("conv2d", lambda x: x, "same"),
    "same, unbatched": ("conv2d", lambda x: x[0], "same"),
    "transposed operation": ("conv_transpose2d", lambda x: x[:, :, 1:], 1),
    "3-D, channels_last": ("conv3d", lambda x: x[:, :, None].expand(-1, -1, 4, -1, -1).contiguous(memory_format=torch.channels_last_3d), 1),
    "3-D, same": ("conv3d", lambda x: x[:, :, None].expand(-1, -1, 4, -1, -1), "same"),
    "1-D, unbatched and not dense": ("conv1d", lambda x: x[0, :, 0, ::2], "same"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("form", FORMS)
def test_inputs_as_they_come(gpu, form):
    """Inputs without a batch, not dense or unevenly padded reach the kernel dense, and the result is torch's."""
    op, shaped, padding = FORMS[form]
    x, bias = tensors((2, 4, 8, 8), (6,))
    axes = int(op[-2])
    (weight,) = tensors((4, 6, *(4, 2, 3)[:axes]) if "transpose" in op else (6, 4, *(4, 2, 3)[:axes]))
    x = shaped(plain(x)).as_subclass(OnGpu)
    plan = make_plan(op, x, weight, bias, 1, padding, 0, 1, 1)
    seen = []
    ((_, problem, _),) = gpu.loaded
    real = load("aten").plan(problem, (), None)

    def kernel(given, *rest):
        seen.append(given)
        return real(given, *rest)

    call = plans.normalised(op, x, weight, bias, 1, padding, 0, 1, 1)
    ours = plans._adapted(kernel, call, x, bias)(plain(x), plain(weight), plain(bias))
    theirs = getattr(functional, op)(plain(x), plain(weight), plain(bias), 1, padding)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(plan.run(plain(x), plain(weight), plain(bias)), theirs, atol=1e-5)
    assert seen[0].shape == problem.input_shape
    fmt = torch.contiguous_format
    if problem.layout == "channels_last":
        fmt = torch.channels_last if axes == 2 else torch.channels_last_3d
    assert seen[0].is_contiguous(memory_format=fmt)


def test_a_usual_call_is_not_wrapped(gpu):
    """A dense input with a batch runs the kernel's own function, with nothing between."""
    x, weight = tensors((2, 4, 9), (6, 4, 3))

    def kernel(*_):
        """Stand for a kernel's run."""

    call = plans.normalised("conv1d", x, weight, None, *DEFAULTS)
    assert plans._adapted(kernel, call, x, None) is kernel


def test_clear_reaches_launches_and_files(monkeypatch):
    """Forgetting means loaded kernels and what was read from databases."""
    done = []
    monkeypatch.setattr(plans.launch, "clear", lambda: done.append("kernels"))
    monkeypatch.setattr(plans.lookup, "reload", lambda: done.append("files"))
    plans.clear()
    assert done == ["kernels", "files"]


@pytest.mark.parametrize("bias", [torch.randn(12)[::2], torch.randn(1).expand(6)])
def test_bias_is_made_dense(bias):
    """A bias that is not dense reaches the kernel dense: it is read with stride 1."""
    x, weight = torch.randn(2, 4, 9), torch.randn(6, 4, 3)
    call, seen = plans.normalised("conv1d", x, weight, bias, 1, 0, 0, 1, 1), []
    plans._adapted(lambda *given: seen.append(given[2]), call, x, bias)(x, weight, bias)
    assert seen[0].is_contiguous()


def test_a_short_answer_of_a_slow_host_runs_in_graphs_only(gpu, monkeypatch):
    """Outside of a graph torch answers, in the call's own words, from the second call on; the plan says so."""
    monkeypatch.setattr(plans, "too_short_for_eager", lambda _: " In CUDA graphs only.")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    asked = []
    monkeypatch.setattr(plans, "torch_convolution", lambda *given: asked.append(given))
    x, weight = tensors((1, 2, 9), (3, 2, 3))
    sizes = (1, "same", 0, 1, 1)
    plan = make_plan("conv1d", x, weight, None, *sizes)
    assert plan.why == "it won. In CUDA graphs only."
    first = plan.run(x, weight, None)
    assert torch.equal(plain(first), functional.conv1d(plain(x), plain(weight), padding="same"))
    assert not asked
    plan.run(x, weight, None)
    assert asked == [("conv1d", x, weight, None, *sizes)]
