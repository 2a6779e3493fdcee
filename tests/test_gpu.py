"""The road from a call to a kernel on a real GPU: what the interpreter cannot show."""

import datetime as dt

import pytest
import torch
from torch.nn import functional

import tunedb
from tunedb.device import current, floor_us
from tunedb.dispatch.calls import _plans
from tunedb.dispatch.normalise import normalised
from tunedb.kernel import config_to_json, load, source_hash
from tunedb.record import Record
from tunedb.store import files
from tunedb.store.write import Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


@pytest.fixture(autouse=True)
def database(tmp_path, monkeypatch):
    """An empty user database in place of the user's own and of the shipped ones."""
    path = tmp_path / "user.sqlite"
    monkeypatch.setenv("TUNEDB_PATH", str(path))
    monkeypatch.setattr(files, "shipped_files", dict)
    tunedb.clear()
    yield path
    tunedb.clear()


def teach(
    path,
    op,
    x,
    weight,
    bias=None,
    *,
    kernel="implicit_gemm",
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
):
    """Record a kernel's default config as the winner for a call."""
    problem = normalised(op, x, weight, bias, stride, padding, output_padding, groups, dilation).problem
    device = current(x.device.index)
    config = load(kernel).default(problem, device)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with Store(path) as store:
        store.put(
            Record(
                problem,
                device.slug,
                kernel,
                config_to_json(config),
                1.0,
                1.0,
                1.0,
                2.0,
                floor_us(problem, device),
                1e-4,
                1e-4,
                "measured",
                1,
                source_hash(kernel),
                "3",
                "2",
                "9",
                "5",
                now,
            )
        )
    tunedb.clear()
    return problem


def ran(kernel="implicit_gemm"):
    """Whether the only plan is that kernel's, not torch's."""
    (plan,) = _plans.values()
    return plan.run is not None


def tensors(*shapes, dtype=torch.float16):
    generator = torch.Generator("cuda").manual_seed(1)
    return [torch.randn(shape, device="cuda", generator=generator).to(dtype) for shape in shapes]


def close(ours, theirs, tolerance=3e-3):
    assert ours.shape == theirs.shape
    assert ours.stride() == theirs.stride()
    assert (ours.double() - theirs.double()).norm() <= tolerance * theirs.double().norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_answers_with_the_recorded_kernel(database, layout):
    """A recorded problem runs its kernel and gives torch's result in torch's layout."""
    x, w, b = tensors((2, 32, 20, 24), (32, 48, 3, 3), (48,))
    x = x.to(memory_format=layout)
    teach(database, "conv_transpose2d", x, w, b, stride=2, padding=1)
    with torch.no_grad():
        ours = tunedb.conv_transpose2d(x, w, b, 2, 1)
    assert ran()
    close(ours, functional.conv_transpose2d(x, w, b, 2, 1))


def test_unbatched_and_uneven_padding(database):
    """An input without a batch and padding="same" with an even kernel are adapted to the recorded problem."""
    x, w = tensors((16, 50), (24, 16, 4))
    padded = functional.pad(x, (0, 1)).unsqueeze(0)
    teach(database, "conv1d", padded, w, padding=1)
    close(tunedb.conv1d(x, w, padding="same"), functional.conv1d(x, w, padding="same"))
    assert ran()


def test_inputs_that_are_not_dense(database):
    """A strided view is made dense; a view that starts at an odd address is left to torch; both are right."""
    x, w = tensors((2, 40, 16), (24, 16, 3))
    x = x.transpose(1, 2)
    teach(database, "conv1d", x, w)
    close(tunedb.conv1d(x, w), functional.conv1d(x, w))
    assert ran()
    odd = torch.randn(2 * 16 * 40 + 1, device="cuda").half()[1:].view(2, 16, 40)
    close(tunedb.conv1d(odd, w), functional.conv1d(odd, w))


def test_weights_changed_in_place(database):
    """A weight that is changed in place is packed again."""
    x, w = tensors((2, 16, 40), (24, 16, 3))
    teach(database, "conv1d", x, w)
    close(tunedb.conv1d(x, w), functional.conv1d(x, w))
    w.mul_(-0.5)
    close(tunedb.conv1d(x, w), functional.conv1d(x, w))


@pytest.mark.parametrize("kernel", ["implicit_gemm", "cudnn_last"])
def test_another_stream_and_a_graph(database, kernel):
    """A plan made on one stream is right on another, and in a captured graph that is replayed with new input."""
    x, w = tensors((2, 16, 4000), (24, 16, 3))
    teach(database, "conv1d", x, w, kernel=kernel)
    expected = functional.conv1d(x, w)
    tunedb.conv1d(x, w)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        ours = tunedb.conv1d(x, w)
    side.synchronize()
    close(ours, expected)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = tunedb.conv1d(x, w)
    x.mul_(3)
    graph.replay()
    close(out, 3 * expected)


@pytest.mark.parametrize("kernel", ["implicit_gemm", "cudnn_last"])
def test_first_call_inside_a_graph(database, kernel):
    """A weight first seen while a graph is captured is packed by the graph itself."""
    x, w = tensors((2, 16, 400), (24, 16, 3))
    teach(database, "conv1d", x, w, kernel=kernel)
    tunedb.conv1d(x, w.clone())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = tunedb.conv1d(x, w)
    graph.replay()
    close(out, functional.conv1d(x, w))
    close(tunedb.conv1d(x, w), functional.conv1d(x, w))


def test_gradients_and_autocast_go_to_torch(database):
    """Where a gradient is asked for, or autocast is on, torch's own operation answers."""
    x, w = tensors((2, 16, 40), (24, 16, 3), dtype=torch.float32)
    teach(database, "conv1d", x, w)
    w.requires_grad_()
    tunedb.conv1d(x, w).sum().backward()
    assert w.grad is not None
    with torch.autocast("cuda"), torch.no_grad():
        assert tunedb.conv1d(x, w).dtype == torch.float16


def test_tf32_setting_is_part_of_the_problem(database):
    """A record for TF32 does not answer where torch's settings ask for IEEE float32."""
    x, w = tensors((2, 64, 64), (64, 64, 3), dtype=torch.float32)
    problem = teach(database, "conv1d", x, w)
    assert problem.precision == "tf32"
    assert tunedb.explain("conv1d", x, w).answer.tier == "exact"
    torch.backends.cudnn.allow_tf32 = False
    try:
        assert tunedb.explain("conv1d", x, w).answer.tier != "exact"
        exact = functional.conv1d(x.double(), w.double())
        assert (tunedb.conv1d(x, w) - exact).norm() <= 1e-5 * exact.norm()
    finally:
        torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize("kernel", ["implicit_gemm", "direct", "shared_rows", "cudnn_last"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_beyond_32_bits(database, kernel, layout):
    """Tensors of more than 2^31 elements, in all and in one sample, are addressed rightly to the last element."""
    for n, h, w_ in ((5, 8192, 8192), (1, 16640, 16640)):
        x = torch.zeros((n, 8, h, w_), device="cuda", dtype=torch.float16).to(memory_format=layout)
        assert x.numel() > 2**31
        x[..., -64:, -64:].normal_()
        x[..., :64, :64].normal_()
        (weight,) = tensors((8, 8, 1, 3))
        # cudnn_last in channels_last has nothing to do without a bias.
        bias = torch.zeros(8, device="cuda", dtype=x.dtype) if kernel == "cudnn_last" else None
        teach(database, "conv2d", x, weight, bias, kernel=kernel)
        ours = tunedb.conv2d(x, weight, bias)
        assert ran()
        for corner in (slice(None, 60), slice(-60, None)):
            piece = x[-1:, :, -60:, corner] if corner.start else x[-1:, :, :60, corner]
            theirs = functional.conv2d(piece.contiguous(), weight)
            mine = ours[-1:, :, -60:, -58:] if corner.start else ours[-1:, :, :60, :58]
            assert (mine.double() - theirs.double()).norm() <= 3e-3 * theirs.double().norm()
        del x, ours, piece
        tunedb.clear()
        torch.cuda.empty_cache()


@pytest.mark.parametrize("kernel", ["implicit_gemm", "packed", "shared_rows"])
def test_what_is_not_finite_stays_so(database, kernel):
    """Rounding to TF32 makes no number of a quiet NaN, the only ones that arithmetic gives, and no NaN of what is infinite."""
    x, w = tensors((1, 16, 40, 42), (64, 16, 3, 3), dtype=torch.float32)
    bits = (0x7F800000, 0xFF800000, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF)
    for place, pattern in enumerate(bits):
        x.view(torch.int32)[0, place, 5 + 5 * place, 7 * place] = pattern - (pattern >> 31 << 32)
    teach(database, "conv2d", x, w, kernel=kernel, padding=1)
    ours, theirs = tunedb.conv2d(x, w, padding=1), functional.conv2d(x.double(), w.double(), padding=1)
    assert ran()
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.isinf(), theirs.isinf())


@pytest.mark.parametrize("kernel", ["implicit_gemm", "shared_rows"])
def test_repeats_bit_for_bit(database, kernel):
    """The same call gives the same bits."""
    x, w = tensors((2, 64, 30, 31), (64, 64, 4, 4), dtype=torch.float32)
    teach(database, "conv_transpose2d", x, w, kernel=kernel, stride=2)
    first = tunedb.conv_transpose2d(x, w, stride=2)
    assert ran()
    assert all(torch.equal(first, tunedb.conv_transpose2d(x, w, stride=2)) for _ in range(5))


def test_errors_are_torchs(database):
    """Wrong arguments raise what torch raises."""
    x, w = tensors((2, 16, 40), (24, 15, 3))
    with pytest.raises(RuntimeError) as ours:
        tunedb.conv1d(x, w)
    with pytest.raises(RuntimeError) as theirs:
        functional.conv1d(x, w)
    assert str(ours.value) == str(theirs.value)


def test_empty_batch(database):
    """An empty batch gives an empty output."""
    x, w = tensors((0, 16, 40), (24, 16, 3))
    assert tunedb.conv1d(x, w).shape == functional.conv1d(x, w).shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_cudnn_in_channels_last(database, dtype, layout):
    """With and without a bias, forward and transposed, called and in a captured graph."""
    x, w, b = tensors((2, 32, 20, 24), (48, 32, 3, 3), (48,), dtype=dtype)
    x = x.to(memory_format=layout)
    for op, weight, bias in (
        ("conv2d", w, b),
        ("conv2d", w, None),
        ("conv_transpose2d", w[:32, :24].contiguous(), b[:24].contiguous()),
    ):
        if layout is torch.channels_last and bias is None:
            continue  # nothing to do for it
        teach(database, op, x, weight, bias, kernel="cudnn_last", stride=2, padding=1)
        theirs = getattr(functional, op)(x, weight, bias, 2, 1)
        ours = getattr(tunedb, op)(x, weight, bias, 2, 1)
        assert ran("cudnn_last")
        close(ours, theirs, tolerance=2e-2 if dtype is torch.bfloat16 else 3e-3)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = getattr(tunedb, op)(x, weight, bias, 2, 1)
        graph.replay()
        close(out, theirs, tolerance=2e-2 if dtype is torch.bfloat16 else 3e-3)
