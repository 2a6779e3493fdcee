"""Every private name of torch that tunedb uses, each with a check and with what answers where torch lacks the name.

The names that a call needs are looked up once, at import, and bound: a call pays no check. Where a name is missing,
public API answers, which is slower; where no public API can tell, the call goes to torch's own operation, which is right
whatever is active. The first use of such an answer gives one TunedbWarning: importing tunedb neither warns nor fails.
"""

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.autograd import forward_ad

from tunedb.errors import TunedbWarning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CONVOLUTIONS",
    "conv_precision",
    "current_device",
    "dispatch_modes",
    "fast_cuda_empty",
    "forward_state",
    "functorch_layer",
    "mark_constant",
    "raw_stream",
    "tensor_guard",
    "tracing_state",
    "versions_are_counted",
]

# Torch's own six functions as they were when tunedb was imported: a user may put tunedb's in their place.
CONVOLUTIONS: dict[str, Callable[..., "Tensor"]] = {
    name: getattr(torch.nn.functional, name)
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
}

TORCH_ANSWERS = "Every call goes to torch's own operation"

_said: set[str] = set()


def _find(path: str, root: object = torch._C) -> Any:
    """Return the attribute at a dotted path, or None."""
    for name in path.split("."):
        root = getattr(root, name, None)
    return root


def _answers(function: Any, *arguments: Any) -> bool:
    """Return whether a function exists and takes these arguments."""
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001 (whatever it raises, it is not the function that is known)
        return False
    return True


def _say(name: str, cost: str) -> None:
    """Warn once of a missing name, and of what it costs."""
    if name not in _said:
        _said.add(name)
        warnings.warn(
            f"tunedb needs {name}, which torch {torch.__version__} lacks or defines otherwise. {cost}. "
            "Install a version of torch that tunedb is tested with (constraints.txt).",
            TunedbWarning,
            stacklevel=3,
        )


def _find_functorch_layer() -> Callable[[], object]:
    found = _find("_functorch.peek_interpreter_stack")
    if _answers(found):
        return cast("Callable[[], object]", found)

    def unknown() -> object:
        _say("torch._C._functorch.peek_interpreter_stack", f"{TORCH_ANSWERS}: vmap or grad may be active")
        return True

    return unknown


def _find_dispatch_modes() -> Callable[[], int]:
    found = _find("_len_torch_dispatch_stack")
    if _answers(found):
        return cast("Callable[[], int]", found)

    def unknown() -> int:
        _say("torch._C._len_torch_dispatch_stack", f"{TORCH_ANSWERS}: a dispatch mode may be active")
        return 1

    return unknown


def _find_tracing_state() -> Callable[[], object]:
    found = _find("_get_tracing_state")
    if _answers(found):
        return cast("Callable[[], object]", found)

    def public() -> object:
        is_tracing = _find("is_tracing", torch.jit)
        if is_tracing is None:
            _say("torch._C._get_tracing_state", f"{TORCH_ANSWERS}: torch.jit.trace may be active")
            return True
        _say(
            "torch._C._get_tracing_state",
            "torch.jit.is_tracing answers in its place, a microsecond a call slower",
        )
        return is_tracing() or None

    return public


class _PublicForwardState:
    """Stands in for torch.autograd.forward_ad where that does not keep its level in `_current_level`."""

    def __init__(self) -> None:
        self._probe = torch.zeros(1)

    @property
    def _current_level(self) -> int:
        _say(
            "torch.autograd.forward_ad._current_level",
            "A call asks torch.autograd.forward_ad.make_dual in its place, some microseconds slower",
        )
        try:
            forward_ad.make_dual(self._probe, self._probe)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            # make_dual refuses outside a level. For another refusal, nobody knows: torch's own operation answers.
            return -1 if "no level" in str(error) else 0
        return 0


def _find_forward_state() -> Any:
    known = type(getattr(forward_ad, "_current_level", None)) is int
    return forward_ad if known else _PublicForwardState()


def _find_current_device() -> Callable[[], int] | None:
    if torch.version.cuda is None:
        return None
    found = _find("_cuda_getDevice")
    if found is not None:
        return cast("Callable[[], int]", found)

    def public() -> int:
        _say(
            "torch._C._cuda_getDevice",
            "torch.cuda.current_device answers in its place, a microsecond a call slower",
        )
        return torch.cuda.current_device()

    return public


def _find_raw_stream() -> Callable[[int], int]:
    found = _find("_cuda_getCurrentRawStream")
    if found is not None:
        return cast("Callable[[int], int]", found)

    def public(index: int) -> int:
        _say(
            "torch._C._cuda_getCurrentRawStream",
            "torch.cuda.current_stream answers in its place, some microseconds a launch slower",
        )
        return int(torch.cuda.current_stream(index).cuda_stream)

    return public


def _find_conv_precision() -> Callable[[str, str], str]:
    found = _find("_get_fp32_precision_getter")
    if _answers(found, "cuda", "conv"):
        return cast("Callable[[str, str], str]", found)

    def public(_backend: str, _op: str) -> str:
        # Older torch has allow_tf32 only; newer raises where that and the finer settings disagree.
        finer = _find("cudnn.conv.fp32_precision", torch.backends)
        if finer is None:
            return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
        _say(
            "torch._C._get_fp32_precision_getter",
            "torch.backends.cudnn.conv.fp32_precision answers in its place, a microsecond a call slower",
        )
        return str(finer)

    return public


def mark_constant(function: Any) -> Any:
    """Let Dynamo call a function while it traces and take its result for a constant.

    torch.compiler.assume_constant_result sets the same mark, but imports all of Dynamo, which takes seconds. Where torch
    reads no such mark, Dynamo inlines the function, or says in its own words that it cannot.
    """
    function._dynamo_marked_constant = True
    return function


# The layer of functorch (vmap, grad, jvp) that is active, or None.
functorch_layer = _find_functorch_layer()
# How many dispatch modes are active.
dispatch_modes = _find_dispatch_modes()
# The state of torch.jit.trace, or None where nothing is traced.
tracing_state = _find_tracing_state()
# Its `_current_level` is -1 outside forward-mode differentiation. The level is a global of torch's module, so that it
# cannot be bound; reading it here costs a call no function.
forward_state = _find_forward_state()
# The index of the current CUDA device; None in a build without CUDA, where no call has a plan that runs.
current_device = _find_current_device()
# raw_stream(index): the address of a device's current CUDA stream.
raw_stream = _find_raw_stream()
# conv_precision("cuda", "conv"): "tf32" where a float32 convolution may use it.
conv_precision = _find_conv_precision()


@functools.cache
def fast_cuda_empty() -> "Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], Tensor] | None":
    """Return the allocator empty(shape, strides, dtype) of the current CUDA device that torch.compile uses, or None.

    It takes 2.4 us of host time where torch.empty_strided takes 3.5 to 6.4. None: allocate with torch.empty_strided.
    """
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return None
    found = _find("_dynamo.guards._empty_strided_cuda")
    if found is not None and _answers(_check_allocation, found):
        return cast("Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], Tensor]", found)
    _say(
        "torch._C._dynamo.guards._empty_strided_cuda",
        "torch.empty_strided allocates outputs in its place, 1 to 4 microseconds a call slower",
    )
    return None


def _check_allocation(empty: Callable[..., "Tensor"]) -> None:
    """Raise where an allocator does not give what is asked for."""
    found = empty((2, 3), (4, 1), torch.float16)
    given = (tuple(found.shape), found.stride(), found.dtype, found.is_cuda)
    if given != ((2, 3), (4, 1), torch.float16, True):
        raise ValueError(given)


def tensor_guard(*tensors: "Tensor") -> "Callable[..., bool] | None":
    """Return check(*others): whether they have these tensors' classes, dtypes, devices, shapes, strides and dispatch keys.

    The keys hold the state of the thread too: autocast, inference mode, transforms, tracing, most modes; no forward-mode
    differentiation, and `requires_grad` only of the tensors. Half a microsecond of C++ answers what takes five of Python.
    None where torch lacks it: calls are then found by their signature.
    """
    return None if (guards := _tensor_guards()) is None else _guard(guards, tensors)


def _guard(guards: Any, tensors: "tuple[Tensor, ...]") -> "Callable[..., bool]":
    # Torch crashes where the two lists are missing, and takes None in them for "any".
    sizes, strides = [[*one.shape] for one in tensors], [[*one.stride()] for one in tensors]
    return guards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check  # type: ignore[no-any-return]


@functools.cache
def _tensor_guards() -> Any:
    found = _find("_dynamo.guards.TensorGuards")
    if found is not None and _answers(_check_guards, found):
        return found
    _say("torch._C._dynamo.guards.TensorGuards", "Calls are found by their signature, microseconds slower")
    return None


def _check_guards(guards: Any) -> None:
    """Raise where a guard does not tell one tensor from another."""
    with torch.inference_mode(mode=False):
        one, two = torch.zeros(2, 3), torch.zeros(3)
        check = _guard(guards, (one, two))
        others = (one.half(), one.t(), one[:1], torch.zeros(3, 2), one.to("meta"), torch.nn.Parameter(one))
        if not check(one, two) or not check(one + 1, two) or any(check(other, two) for other in others):
            raise ValueError(guards)


@functools.cache
def versions_are_counted() -> bool:
    """Return whether `tensor._version` is there and grows with every change in place.

    False: nothing made of a tensor may be kept, since a change would go unseen.
    """
    if _answers(_check_versions):
        return True
    _say("torch.Tensor._version", "A weight is packed again in every call: no way to see that it was changed")
    return False


def _check_versions() -> None:
    """Raise where a version does not grow with a change in place."""
    with torch.inference_mode(mode=False):
        tensor = torch.zeros(1)
        before = tensor._version
        if type(before) is not int or tensor._version != before or tensor.add_(1)._version <= before:
            raise ValueError(before)
