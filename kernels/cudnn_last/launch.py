"""How cudnn_last is launched: its config, the problems it solves, what Triton compiles and what a plan runs."""

from collections.abc import Callable
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

from tunedb.kernels.cudnn_last.jit import Pass, relay
from tunedb.kernels.cudnn_last.weights import channels_inside
from tunedb.kernels.shared.limits import shape_flaw

from tunedb.device import Device
from tunedb.kernel import Run, Signature
from tunedb.launch import convolution_arguments, convolution_plan, dense_strides, launch_flaw, workspace
from tunedb.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

SIDES = (16, 32, 64, 128, 256)


class Config(NamedTuple):
    """The tile of the passes; cuDNN chooses its own."""

    BLOCK_C: int  # channels
    BLOCK_S: int  # positions
    num_warps: int


def valid(problem: Problem, config: Config, device: Device) -> str:
    del device
    if problem.groups != 1:
        return f"cudnn_last needs one group, but the problem has {problem.groups}"
    if flaw := refused_by_cudnn(problem):
        return flaw
    if flaw := shape_flaw(config, {"BLOCK_C": SIDES, "BLOCK_S": SIDES}):
        return flaw
    if not 1 <= config.BLOCK_C * config.BLOCK_S // (32 * config.num_warps) <= 128:
        return f"a thread must have 1 to 128 elements, but {config.num_warps} warps share {config.BLOCK_C} x {config.BLOCK_S}"
    if max(prod(problem.extents), prod(problem.out_extents)) >= 2**31 - 4096:
        return "a channel must have fewer than 2^31 elements"
    grids = [_grid(problem, config, of_output=of_output) for of_output in (False, True)]
    return launch_flaw(problem, grids[0]) or launch_flaw(problem, grids[1])


def refused_by_cudnn(problem: Problem) -> str:
    """Return why cuDNN does not compute a problem, or an empty string. Torch has a kernel of its own there."""
    if problem.transposed and any(
        more >= stride for more, stride in zip(problem.output_padding, problem.stride, strict=True)
    ):
        return f"cuDNN needs an output padding below the stride, but it is {problem.output_padding} with strides {problem.stride}"
    return ""


def roundings(problem: Problem) -> int:
    """Return how often an output is rounded to its dtype: cuDNN's result is, and the bias is added to that, as torch does it."""
    return 1 + problem.bias


def _grid(problem: Problem, config: Config, *, of_output: bool) -> tuple[int, int, int]:
    channels, extents = (problem.c_out, problem.out_extents) if of_output else (problem.c_in, problem.extents)
    tiles = -(-prod(extents) // config.BLOCK_S) * -(-channels // config.BLOCK_C)
    return max(1, problem.n * tiles), 1, 1


def signature(problem: Problem, config: Config) -> Signature:
    """Describe the last pass, from what cuDNN wrote to the output."""
    return _pass(problem, config, of_output=True)


def _pass(problem: Problem, config: Config, *, of_output: bool) -> Signature:
    last = int(problem.layout == "channels_last")
    channels, extents = (problem.c_out, problem.out_extents) if of_output else (problem.c_in, problem.extents)
    constant = Pass(
        channels, int(of_output or last), int(last or not of_output), int(of_output), gcd(prod(extents), 16)
    )
    unused = () if of_output else ("w_ptr", "b_ptr")
    large = int(channels * prod(extents) >= 2**31 - 2**20)  # the last tile reaches beyond
    return (
        convolution_arguments(problem)
        .without(*unused)
        .signature(
            relay,
            {"PASS": constant, "CONFIG": config, "LARGE": large},
            _grid(problem, config, of_output=of_output),
            config.num_warps,
            num_stages=1,
        )
    )


def plan(problem: Problem, config: Config, launcher: Callable[[Signature], Callable[..., None]]) -> Run:
    import torch

    dtype, axes = getattr(torch, problem.dtype), max(problem.rank, 2)
    first = problem.layout == "channels_first"
    passed = first or bool(problem.bias)  # over the output
    relay_in = launcher(_pass(problem, config, of_output=False)) if first else None
    relay_out = launcher(_pass(problem, config, of_output=True)) if passed else None
    lead = 3 - axes

    def last(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the sizes and strides of a tensor in channels_last; one dimension is a row of a plane."""
        shape = (*shape[:2], *(1,) * (axes + 2 - len(shape)), *shape[2:])
        return shape, dense_strides(shape, "channels_last")

    shapes = (problem.input_shape, problem.output_shape, problem.weight_shape)
    input_as, output_as, weight_as = map(last, shapes)
    allocate_in, allocate_out = (workspace(shape, dtype, strides) for shape, strides in (input_as, output_as))
    convolve = _convolution(problem, lead)

    def launch(x: "Tensor", weight: "Tensor", bias: "Tensor | None", out: "Tensor") -> None:
        if relay_in is None:
            turned = x.as_strided(*input_as)
        else:
            turned = allocate_in(x)
            relay_in(x, x, None, turned)
        taps = weight.as_strided(*weight_as)
        if relay_out is None:
            convolve(turned, taps, out.as_strided(*output_as))
        elif problem.transposed:
            relay_out(convolve(turned, taps, None), x, bias, out)
        else:
            relay_out(convolve(turned, taps, allocate_out(x)), x, bias, out)

    return convolution_plan(problem, launch, channels_inside(problem))


def _convolution(problem: Problem, lead: int) -> "Callable[[Tensor, Tensor, Tensor | None], Tensor]":
    """Return what convolves without a bias; all tensors are channels_last.

    Its third argument is the memory to write to: forward the result is there. Transposed it may be None, and cuDNN's own memory
    is returned where a pass follows.
    """
    import torch

    # Torch's own bindings: an operator of torch.ops takes 3 us longer to read the same arguments.
    forward, transposed = torch.cudnn_convolution, torch.cudnn_convolution_transpose
    capturing = torch.cuda.is_current_stream_capturing
    stride, padding, dilation = problem.stride[lead:], problem.padding[lead:], problem.dilation[lead:]
    more, allow_tf32 = problem.output_padding[lead:], problem.precision == "tf32"
    last = torch.channels_last if lead else torch.channels_last_3d

    def convolve(x: "Tensor", weight: "Tensor", memory: "Tensor | None") -> "Tensor":
        if not x.is_cuda:  # in Triton's interpreter
            result = torch.convolution(
                x, weight, None, stride, padding, dilation, problem.transposed, more, 1
            )
            return result.contiguous(memory_format=last) if memory is None else memory.copy_(result)
        # A search would break a capture. Kernels that sum in any order give other bits in every call: a sweep takes none.
        settings = (1, not capturing(), True, allow_tf32)
        if not problem.transposed:
            return forward(x, weight, padding, stride, dilation, *settings, out=memory)  # type: ignore[no-any-return]
        result = transposed(x, weight, padding, more, stride, dilation, *settings)
        return result.contiguous(memory_format=last) if memory is None else memory.copy_(result)  # type: ignore[no-any-return]

    return convolve
