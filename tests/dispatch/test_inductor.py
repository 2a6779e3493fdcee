"""What Inductor writes for layers that tunedb answers: direct calls, in one layout, without copies of their own."""

import pytest
import torch
from compiled_answers import tensors
from torch._inductor.utils import run_and_get_code

import tunedb
from tunedb.dispatch import inductor
from tunedb.errors import TunedbWarning

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def code_of(function, *given):
    """Compile by Inductor and run; return the result and the code that calls the kernels."""
    torch._dynamo.reset()
    with torch.no_grad(), torch._inductor.config.patch(force_disable_caches=True):
        out, (code,) = run_and_get_code(torch.compile(function, fullgraph=True), *given)
    return out, code[code.index("def call(") :]


def block(x, first, norm, second, third):
    """A residual block as in a decoder: its layers meet in pointwise operations and in a reduction."""
    h = tunedb.conv2d(x, first, padding=1)
    h = h + tunedb.conv2d(torch.nn.functional.silu(norm(h)), second, padding=1)
    return tunedb.conv_transpose2d(h.relu(), third, stride=2, padding=1)


def test_a_model_stays_in_channels_last(answers):
    """One copy of the input and one of the output; between the layers what is written anyway is written as they take it."""
    x = torch.randn(2, 4, 12, 12)
    weights = [torch.randn(shape) for shape in ((8, 4, 3, 3), (8, 8, 3, 3), (8, 4, 4, 4))]
    norm = torch.nn.GroupNorm(2, 8).requires_grad_(False)
    given = (x, weights[0], norm, *weights[1:])
    out, code = code_of(block, *given)
    assert answers.ran == ["conv2d", "conv2d", "conv_transpose2d"]
    torch.testing.assert_close(out, block(*given), rtol=1e-4, atol=1e-4)
    assert out.is_contiguous()
    assert code.count("extern_kernels.tunedb_called(") == 3
    assert "torch.ops.tunedb" not in code.replace("'torch.ops.tunedb.tuned.default'", "")
    assert code.count("cpp_fused") == 4  # the input; norm and silu; add and relu; the output


def test_a_later_call_is_recognised_by_its_weight(answers, monkeypatch):
    """Its sizes are the very objects of the first: nothing is searched for again."""
    x, weight, bias = tensors("conv1d")
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: tunedb.conv1d(x, weight, bias, padding=1), fullgraph=True)
    with torch.no_grad():
        expected = compiled(x)
        compiled(x)  # the first call is given a weight object of the compiler's
        monkeypatch.setattr("tunedb.dispatch.calls._search", lambda *_: pytest.fail("searched again"))
        assert torch.equal(compiled(x), expected)
    assert answers.ran == ["conv1d"] * 3


@pytest.mark.parametrize("last", [False, True])
def test_torch_answers_in_the_promised_layout(answers, last):
    """Where the plan turns out to be torch's, the result lies as the graph counts on."""
    answers.ops.clear()
    x, weight, bias = tensors("conv2d")
    sizes = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "groups": 1, "dilation": (1, 1)}
    with torch.no_grad():
        out = inductor.called(x, weight, bias, op="conv2d", **sizes, last=last)
    torch.testing.assert_close(out, torch.conv2d(x, weight, bias))
    assert out.is_contiguous(memory_format=torch.channels_last) is last


def test_dynamic_shapes_call_the_operator(answers):
    """Whose plan is looked up in each call."""
    _, weight, bias = tensors("conv1d")
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: tunedb.conv1d(x, weight, bias), fullgraph=True, dynamic=True)
    with torch.no_grad():
        for length in (9, 23):
            x = torch.randn(2, 4, length)
            torch.testing.assert_close(compiled(x), torch.conv1d(x, weight, bias))
    assert answers.ran == ["conv1d"] * 2


@pytest.mark.parametrize("missing", ["fallback_handler", "register_lowering", "add_needs_realized_inputs"])
def test_an_inductor_of_other_names(answers, monkeypatch, missing):
    """Says so once, and the operator is called."""
    monkeypatch.delattr(f"torch._inductor.lowering.{missing}")
    inductor.write_direct_calls.cache_clear()
    with pytest.warns(TunedbWarning, match="constraints.txt"):
        assert not inductor.write_direct_calls()
    inductor.write_direct_calls.cache_clear()
