import types

import pytest
import torch
from awkward import AWKWARD, problem
from hypothesis import given
from hypothesis import strategies as st

from tunedb import launch as module
from tunedb.device import by_slug
from tunedb.errors import ProblemError
from tunedb.launch import convolution_arguments, convolution_plan, launch_flaw, launcher

NAMES = (
    "x_ptr", "w_ptr", "b_ptr", "y_ptr", "n", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "C_IN", "BLOCK",
)  # fmt: skip
GRID = (7, 5, 3)


class InterpretedFunction:
    """A jitted function under Triton's interpreter, by name and by use: it notes grid and arguments."""

    arg_names = NAMES
    __name__ = "fake"

    def __init__(self):
        self.launches = []

    def __getitem__(self, grid):
        return lambda *arguments: self.launches.append((grid, arguments))


def signature(asked, fn=None, warps=4):
    fn = fn or InterpretedFunction()
    return convolution_arguments(asked).signature(fn, {"C_IN": asked.c_in, "BLOCK": 64}, GRID, warps, 3)


@pytest.mark.parametrize("reason", AWKWARD)
def test_arguments(reason):
    """Pointers have the dtype; batch and the operation's own extents are integers; the missing axes are constants."""
    asked = AWKWARD[reason]
    found = convolution_arguments(asked)
    kind = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}[asked.dtype]
    axes = "dhw"[3 - asked.rank :]
    scalars = ["n", *(f"in_{axis}" for axis in axes), *(f"out_{axis}" for axis in axes)]
    missing = {f"{side}_{axis}": 1 for axis in "dhw"[: 3 - asked.rank] for side in ("in", "out")}
    pointers = ["x_ptr", "w_ptr", *(["b_ptr"] if asked.bias else []), "y_ptr"]
    assert {name for name, given_kind in found.types.items() if given_kind == "i32"} == set(scalars)
    assert [name for name in found.types if found.types[name] == kind] == pointers
    assert found.constexprs == missing | ({} if asked.bias else {"b_ptr": None})
    sizes = (asked.n, *asked.extents[3 - asked.rank :], *asked.out_extents[3 - asked.rank :])
    assert found.scalars == sizes
    assert set(found.aligned) == {*pointers, *(name for name, size in zip(scalars, sizes, strict=True) if size % 16 == 0)}  # fmt: skip


def test_signature_has_every_argument():
    """A signature names the function's arguments in their order; what is no pointer and no size is constant."""
    asked = problem("conv2d", n=3, c=(4, 6), extents=(32, 7), k=3, bias=1)
    found = signature(asked)
    assert tuple(found.types) == NAMES
    assert [found.types[name] for name in ("in_d", "out_d", "C_IN", "BLOCK")] == ["constexpr"] * 4
    assert found.constexprs == {"in_d": 1, "out_d": 1, "C_IN": 4, "BLOCK": 64}
    assert found.aligned == ("x_ptr", "w_ptr", "b_ptr", "y_ptr", "in_h")
    assert (found.grid, found.num_warps, found.num_stages) == (GRID, 4, 3)


@pytest.mark.parametrize(
    ("grid", "extents", "n", "refused"),
    [
        ((2**31 - 1, 1, 1), (1, 1), 1, False),
        ((2**31, 1, 1), (1, 1), 1, True),
        ((1, 65535, 65535), (1, 1), 1, False),
        ((1, 65536, 1), (1, 1), 1, True),
        ((1, 1, 65536), (1, 1), 1, True),
        ((1, 1, 1), (2**16, 9), 2**15 - 1, False),
        ((1, 1, 1), (2**16, 9), 2**15, True),
        ((1, 1, 1), (1, 2**31 - 1), 1, False),
    ],
)
def test_launch_flaw(grid, extents, n, refused):
    """CUDA's limits on each axis hold, and output rows must be numbered in 32 bits; the width of a row does not count."""
    why = launch_flaw(problem("conv2d", n=n, c=(1, 1), extents=extents, k=1), grid)
    assert bool(why) == refused
    assert not refused or str(grid) in why


def test_kernels_refuse_what_is_too_large():
    """A kernel's `valid` refuses a launch beyond those limits in words."""
    pytest.importorskip("triton")
    from tunedb.kernel import load

    asked = problem("conv2d", n=2**15, c=(8, 8), extents=(2**16, 4), k=1)
    gemm, direct = load("implicit_gemm"), load("direct")
    for kernel, config in (
        (gemm, gemm.default(asked, by_slug("h200"))),
        (direct, direct.Config(COLS=4, BLOCK_N=4, COMPENSATED=0, num_warps=4)),
    ):
        assert "a launch has at most" in kernel.valid(asked, config, by_slug("h200"))


@given(
    shape=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    n=st.integers(0, 3),
)
def test_strides_are_torchs(shape, n):
    """Outputs have the strides that torch gives them in either memory format, sizes of 1 and no batch included."""
    full = (n, *shape[1:])
    assert module.dense_strides(full, "channels_first") == torch.empty(full).stride()
    if len(full) > 3:
        fmt = torch.channels_last if len(full) == 4 else torch.channels_last_3d
        assert module.dense_strides(full, "channels_last") == torch.empty(full, memory_format=fmt).stride()


class Recorder:
    """A launch that fills the output with a number and notes its arguments."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, weight, bias, out):
        self.calls.append((x, weight, bias, out))
        out.fill_(5)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_plan_allocates_and_launches(layout, dtype):
    """A plan packs the weight, makes the output in the problem's shape, dtype and layout, and launches once."""
    asked = problem(
        "conv_transpose2d", n=2, c=(3, 4), extents=5, k=3, s=2, bias=1, dtype=dtype, layout=layout
    )
    launch = Recorder()
    run = convolution_plan(asked, launch, lambda weight: weight + 1)
    x, weight, bias = (
        torch.zeros(shape, dtype=getattr(torch, dtype))
        for shape in (asked.input_shape, asked.weight_shape, (4,))
    )
    out = run(x, weight, bias)
    ((given_x, packed, given_bias, given_out),) = launch.calls
    assert given_x is x
    assert given_bias is bias
    assert given_out is out
    assert torch.equal(packed, weight + 1)
    fmt = torch.contiguous_format if layout == "channels_first" else torch.channels_last
    assert out.stride() == torch.empty(asked.output_shape, memory_format=fmt).stride()
    assert (out.shape, out.dtype) == (asked.output_shape, x.dtype)
    assert (out == 5).all()


def test_plan_writes_where_it_is_told():
    """With `out` nothing is allocated: the plan writes there and returns it."""
    asked = problem("conv1d", n=2)
    run = convolution_plan(asked, Recorder(), lambda weight: weight)
    out = torch.zeros(asked.output_shape)
    assert run(torch.zeros(asked.input_shape), torch.zeros(asked.weight_shape), None, out=out) is out
    assert (out == 5).all()


@pytest.mark.parametrize("shape", [(2, 3, 8), (1, 3, 7), (3, 2, 7), (2, 3, 7, 1), (42,), ()])
def test_plan_is_for_one_shape(shape):
    """A plan refuses any other input shape and names both; nothing is launched."""
    launch = Recorder()
    run = convolution_plan(problem("conv1d", n=2), launch, lambda weight: weight)
    with pytest.raises(ProblemError) as raised:
        run(torch.zeros(shape), torch.zeros(5, 3, 3), None)
    assert (
        str(raised.value)
        == f"input must have the shape (2, 3, 7) that this plan was made for, but has {shape}."
    )
    assert not launch.calls


def test_empty_output_is_not_launched():
    """An empty batch gives an empty output without a launch: a grid of no blocks is an error in CUDA."""
    launch = Recorder()
    asked = AWKWARD["empty batch"]
    run = convolution_plan(asked, launch, lambda weight: weight)
    assert run(torch.zeros(asked.input_shape), torch.zeros(asked.weight_shape), torch.zeros(4)).shape == asked.output_shape  # fmt: skip
    assert not launch.calls


def test_launcher_binds_arguments_in_order():
    """A launch passes the four tensors, then each size or constant at the place of its name."""
    fn = InterpretedFunction()
    asked = problem("conv2d", n=3, c=(4, 6), extents=(9, 7), k=3, bias=0)
    launcher(signature(asked, fn))("x", "w", None, "y")
    ((grid, arguments),) = fn.launches
    assert grid == GRID
    named = dict(zip(NAMES, arguments, strict=True))
    assert [named[name] for name in NAMES[:4]] == ["x", "w", None, "y"]
    assert [named[name] for name in NAMES[4:]] == [3, 1, 9, 7, 1, 7, 5, 4, 64]


def loaded(runs):
    """A compiled handle whose launcher has the class and arguments of Triton's, and notes them."""

    class CudaLauncher:
        def __call__(
            self, gridX, gridY, gridZ, stream, function,
            kernel_metadata, launch_metadata, launch_enter_hook, launch_exit_hook, *args,
        ):  # fmt: skip
            runs.append(
                (gridX, gridY, gridZ, stream, function, kernel_metadata, launch_metadata, launch_enter_hook, launch_exit_hook, *args)
            )  # fmt: skip

    return types.SimpleNamespace(run=CudaLauncher(), function=77, packed_metadata="meta")


@pytest.mark.parametrize("bias", [0, 1])
def test_arguments_without_pointers(bias):
    """A pointer that a kernel does not use is compiled in as None, and is no run-time or aligned argument; the rest stays."""
    asked = problem("conv2d", n=3, c=(4, 6), extents=(32, 7), k=3, bias=bias)
    whole = convolution_arguments(asked)
    found = whole.without("w_ptr", "b_ptr")
    assert found.types == whole.types | {"w_ptr": "constexpr", "b_ptr": "constexpr"}
    assert list(found.types) == list(whole.types)
    assert found.constexprs == whole.constexprs | {"w_ptr": None, "b_ptr": None}
    assert found.aligned == ("x_ptr", "y_ptr", "in_h")
    assert found.scalars == whole.scalars
    assert whole == convolution_arguments(asked)


def test_direct_launch(monkeypatch):
    """On a GPU the compiled handle is run with grid, current stream, and addresses in place of tensors."""
    runs = []
    pytest.importorskip("triton")
    handle = loaded(runs)
    monkeypatch.setattr(module, "_handle", lambda *_: handle)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(module, "raw_stream", lambda index: 900 + index)
    asked = problem("conv1d", n=3, c=(4, 6), extents=9, k=3, bias=1)
    fn = types.SimpleNamespace(arg_names=NAMES, __name__="fake")
    x, weight, bias, out = (torch.zeros(1) for _ in range(4))
    launcher(signature(asked, fn))(x, weight, bias, out)
    assert runs == [
        (*GRID, 901, 77, "meta", None, None, None, x.data_ptr(), weight.data_ptr(), bias.data_ptr(),
         out.data_ptr(), 3, 1, 1, 9, 1, 1, 7, 4, 64)
    ]  # fmt: skip


def test_a_launch_of_older_code(monkeypatch):
    """`arch` reaches the handle; without it the GPU runs its own generation's code."""
    pytest.importorskip("triton")
    asked = []
    monkeypatch.setattr(module, "_handle", lambda *what: asked.append(what[1:]) or loaded([]))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    one = signature(problem("conv1d", n=3, c=(4, 6), extents=9, k=3), types.SimpleNamespace(arg_names=NAMES, __name__="fake"))  # fmt: skip
    launcher(one, arch="sm89")
    launcher(one)
    assert asked == [(1, "sm89"), (1, None)]


def test_handles_are_shared(monkeypatch):
    """Plans that differ in sizes that are no constants share a loaded kernel; other constants, warps or GPUs do not."""
    pytest.importorskip("triton")
    from tunedb import compile as compiler
    from tunedb import device

    monkeypatch.setattr(module, "toolchain", lambda _: True)
    made = []
    monkeypatch.setattr(compiler, "compiled", lambda *what: made.append(what) or object())
    monkeypatch.setattr(compiler, "cap_blocks", lambda *_: None)
    monkeypatch.setattr(device, "current", lambda _: by_slug("h200"))
    monkeypatch.setattr(module, "_handles", {})
    asked = problem("conv1d", n=3, c=(4, 6), extents=9, k=3)
    first = module._handle(signature(asked), 0)
    assert module._handle(signature(asked._replace(n=5, in_w=35)), 0) is first
    different = [
        (signature(asked._replace(n=16)), 0),  # divisible by 16: other code
        (signature(asked._replace(c_in=3)), 0),
        (signature(asked._replace(dtype="float16", precision="ieee")), 0),
        (signature(asked, warps=8), 0),
        (signature(asked), 1),
        (signature(asked), 0, "sm89"),
    ]
    assert len({id(module._handle(*one)) for one in different} - {id(first)}) == len(different)
    assert {device.slug for _, device in made} == {"h200", "h200-sm89"}
    module.clear()
    assert module._handle(signature(asked), 0) is not first
    assert len(made) == len(different) + 2


@pytest.mark.parametrize("scratch", [0, 16])
def test_the_compiled_launch_of_triton_3_6(scratch):
    """Triton 3.6's compiled function is called itself where the kernel needs no scratch memory, which its launcher allocates."""
    from tunedb.triton_internals import direct_launch

    class CudaLauncher:
        launch = staticmethod(len)
        global_scratch_size, profile_scratch_size = 0, scratch
        launch_cooperative_grid, launch_pdl = False, True

        def __call__(self, gridX, gridY, gridZ, stream, function, *args):
            """Take what Triton 3.6's takes."""

    pytest.importorskip("triton")
    run = CudaLauncher()
    found = direct_launch(types.SimpleNamespace(run=run, function=77, packed_metadata="meta"))
    compiled = (len, (77, False, True, None, None, "meta", None, None, None))
    assert found == ((run, (77, "meta", None, None, None)) if scratch else compiled)
