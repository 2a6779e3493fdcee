"""What every candidate is compared with: torch's own convolution of the same tensors, and a float64 reference."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.kernel import load
from tunedb.launch import dense_strides
from tunedb.measure.guards import broken, guarded_empty, mend
from tunedb.measure.reference import Deviation, Part, choose_part, cut, deviation, reference, tf32_deviation
from tunedb.measure.timing import Clock, rounds_within, spread, timed
from tunedb.measure.tolerance import NOTHING, Contract, disagreement
from tunedb.measure.verification import checksums
from tunedb.problem import Problem
from tunedb.record import Measurement

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

__all__ = ["SHORT_ROUNDS", "SHORT_US", "Tensors", "Yardstick", "empty_output", "fill", "make_tensors"]

SEED = 0
SCALE = 16  # of a second input: a power of two, and float16 holds results of 16 times 4 deviations
SHORT_US = 15e3  # of timing one call, to rank it
SHORT_ROUNDS = (3, 10)


class Tensors(NamedTuple):
    """x and weight in the problem's layout, as torch users keep them."""

    x: "Tensor"
    weight: "Tensor"
    bias: "Tensor | None"


class _Reference(NamedTuple):
    """What results are judged by."""

    part: Part
    exact: "Tensor"  # float64, of that part
    theirs: "Tensor"  # torch's whole output, the more exact of its two modes
    errors: dict[bool, float]  # torch's, by mode
    contract: Contract


class Yardstick:
    """A problem's seeded tensors, torch's time, and what results are judged by: a float64 reference and torch's result.

    Torch runs with and without cudnn.benchmark: the faster counts as its time, the less exact as its error, since
    a record answers users of either mode. Where TF32 is declared, its error is permitted whatever cuDNN took. The reference is
    made when it is first needed: whoever only asks for torch's time does not pay for it.
    Raises what torch raises where the problem does not fit the device or torch cannot compute it.
    """

    def __init__(self, problem: Problem, clock: Clock) -> None:
        self.problem = problem
        self._place = clock.place
        self.tensors = make_tensors(problem, clock.place)
        # Torch caches cuDNN plans by shapes, layouts and alignment (up to 32 bytes), not by mode: on the same tensors
        # the second mode would reuse the plan of the first. So each mode gets a weight of its own alignment.
        other = self.tensors._replace(weight=_aligned_to_16(self.tensors.weight))
        self._of_mode = {True: self.tensors, False: other}
        self._searched, self._times = self._time_torch(clock)
        self.aten_us: float = spread(self._times)[0]
        gc.collect()

    def refer(self) -> None:
        """Make the reference now, if nobody has needed it yet."""
        assert self._undamaged is not None

    @property
    def aten_error(self) -> float:
        """Torch's error against float64, in the less exact of its two modes."""
        return self._reference.contract.aten.error

    @property
    def aten(self) -> Measurement:
        """Torch's own measurement, in the faster of its two modes."""
        return timed(Measurement("ok", error=self._reference.errors[self._searched]), self._times)

    @property
    def torch_call(self) -> "Callable[[], Tensor]":
        """Torch's own convolution, in the faster of its two modes."""
        return self._call(self._searched)

    @property
    def torch_tensors(self) -> Tensors:
        """The same tensors with the alignment that belongs to that mode's cuDNN plan."""
        return self._of_mode[self._searched]

    def torch_in_mode(self, searched: bool) -> "Callable[[], Tensor]":
        """Return torch's own convolution with cudnn.benchmark on or off, on tensors that have that mode's plan."""
        return self._call(searched)

    def settings(self, searched: bool | None = None) -> "AbstractContextManager[None]":
        """Return torch's settings in the problem's precision, cudnn.benchmark as given or as it is fastest."""
        return _cudnn(self._searched if searched is None else searched, self.problem.precision == "tf32")

    def output(self) -> "Tensor":
        """Return an output in the problem's layout, full of NaN, between guards."""
        return empty_output(self.problem, self._place).fill_(math.nan)

    def damage(self, out: "Tensor") -> str:
        """Return what a candidate has changed beside the output that it was given; an empty string for nothing.

        What it changed is made anew, so that nobody else is blamed.
        """
        beside, same = broken(out), (self._marks() == self._undamaged).all()
        if bool(same & ~beside):  # the usual case waits once
            return ""
        if bool(same):
            mend(out)
            return "it wrote to memory beside its output"
        fill(self.problem, self.tensors)
        for tensor in (*(one for one in self.tensors if one is not None), out):
            mend(tensor)
        del self._reference, self._undamaged
        self.refer()
        return "it changed its input, what it is judged by, or memory beside them"

    @contextmanager
    def scaled(self) -> Iterator[None]:
        """Let input and bias be 16 times as large meanwhile, and so the exact result: nothing is rounded by it."""
        given = [one for one in (self.tensors.x, self.tensors.bias) if one is not None]
        for tensor in given:
            tensor.mul_(SCALE)
        try:
            yield
        finally:
            for tensor in given:
                tensor.div_(SCALE)

    def judge_scaled(self, result: "Tensor") -> Measurement:
        """Check a result that was made while `scaled`; it is scaled back in place."""
        return self.judge(result.div_(SCALE))

    def judge(self, result: "Tensor") -> Measurement:
        """Check a whole result: status "ok" or "wrong", its error, and what is wrong with it."""
        part, exact, theirs, _, contract = self._reference
        if _facts(result) != _facts(theirs):
            return Measurement(
                "wrong", detail=f"the output must be {_facts(theirs)}, but is {_facts(result)}"
            )
        found = deviation(cut(self.problem, result, part), exact)
        breach = contract.breach(found) or contract.disagrees(found, disagreement(result, theirs))
        error = found.error if math.isfinite(found.error) else None
        return Measurement("wrong" if breach else "ok", error=error, detail=breach)

    @cached_property
    def _reference(self) -> _Reference:
        part = choose_part(self.problem)
        exact = reference(self.problem, *self.tensors, part)
        theirs = empty_output(self.problem, self._place)
        deviations: dict[bool, Deviation] = {}
        for searched in (True, False):
            result = self._call(searched)()
            found = deviation(cut(self.problem, result, part), exact)
            if not deviations or found < min(deviations.values()):
                theirs.copy_(result)
            deviations[searched] = found
        permits = self.problem.precision == "tf32"
        contract = Contract(
            aten=max(deviations.values()),
            scale=float(exact.norm()) / math.sqrt(max(1, exact.numel())),
            tf32=tf32_deviation(self.problem, *self.tensors, part, exact) if permits else NOTHING,
        )
        gc.collect()
        return _Reference(
            part, exact, theirs, {mode: found.error for mode, found in deviations.items()}, contract
        )

    @cached_property
    def _undamaged(self) -> "Tensor":
        """The marks of all that a candidate can reach, when none has run."""
        return self._marks()

    def _marks(self) -> "Tensor":
        guarded = [one for one in (*self.tensors, self._reference.theirs) if one is not None]
        return checksums(guarded, [self._reference.exact])

    def _time_torch(self, clock: Clock) -> tuple[bool, list[float]]:
        calls = [self._call(False), self._call(True)]
        for searched in (True, False):
            self._call(searched)()  # chooses and loads its kernel, which is not to be timed
        first = clock.times_us(calls, 1)
        times = clock.times_us(calls, rounds_within(2 * SHORT_US, first, SHORT_ROUNDS))
        searched = spread(times[True])[0] < spread(times[False])[0]
        return searched, times[searched]

    def _call(self, searched: bool) -> "Callable[[], Tensor]":
        module = load("aten")
        run = module.plan(self.problem, module.Config(), _no_launch)
        tf32 = self.problem.precision == "tf32"
        tensors = self._of_mode[searched]

        def call() -> "Tensor":
            with _cudnn(searched, tf32):
                result: Tensor = run(*tensors)
            return result

        return call


def make_tensors(problem: Problem, place: Any) -> Tensors:
    """Return seeded tensors between guards, as `fill` fills them.

    The weight is a parameter, as a model's is: its packed copy is kept from the first call on.
    """
    import torch

    dtype = getattr(torch, problem.dtype)
    x = _empty(problem.input_shape, problem.layout, dtype, place)
    # nn.Module.to(memory_format=torch.channels_last) lays weights out so; it has none for one dimension.
    weight_layout = problem.layout if problem.rank > 1 else "channels_first"
    weight = _empty(problem.weight_shape, weight_layout, dtype, place)
    bias = _empty((problem.c_out,), "channels_first", dtype, place) if problem.bias else None
    tensors = Tensors(x, torch.nn.Parameter(weight, requires_grad=False), bias)
    fill(problem, tensors)
    return tensors


def fill(problem: Problem, tensors: Tensors) -> None:
    """Write the same normal numbers each time, with weights so scaled that results are about 1 and fit 16-bit types."""
    import torch

    generator = torch.Generator(tensors.x.device).manual_seed(SEED)
    tensors.x.normal_(generator=generator)
    tensors.weight.normal_(generator=generator)
    tensors.weight.div_(math.sqrt(math.prod(problem.kernel) * problem.c_in // problem.groups))
    if tensors.bias is not None:
        tensors.bias.normal_(generator=generator)


def empty_output(problem: Problem, place: Any) -> "Tensor":
    """Return an output in the problem's layout, not yet written."""
    import torch

    return _empty(problem.output_shape, problem.layout, getattr(torch, problem.dtype), place)


def _empty(shape: tuple[int, ...], layout: str, dtype: Any, place: Any) -> "Tensor":
    """Return a dense tensor with that order of elements in memory, of any number of dimensions, between guards."""
    return guarded_empty(shape, dense_strides(shape, layout), dtype, place)


def _aligned_to_16(tensor: "Tensor") -> "Tensor":
    """Return a copy, its strides kept, that starts 16 bytes past where the allocator would put it."""
    import torch

    ahead = 16 // tensor.element_size()
    room = torch.empty(ahead + tensor.numel(), dtype=tensor.dtype, device=tensor.device)
    return room[ahead:].as_strided(tensor.shape, tensor.stride()).copy_(tensor)


@contextmanager
def _cudnn(benchmark: bool, tf32: bool) -> Iterator[None]:
    from torch.backends import cudnn

    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before


def _no_launch(*_: Any) -> Callable[..., None]:
    raise AssertionError("torch's own kernel is not launched by tunedb")


def _facts(tensor: "Tensor") -> str:
    return f"{tuple(tensor.shape)}, strides {tensor.stride()}, {tensor.dtype}"
