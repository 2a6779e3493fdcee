"""The columns of bench_kernels: what answers a problem, checked against float64, all timed in turn."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.gpu_shards import said_of
from bench.inductor import torch_compiled
from bench.results import Row
from bench.sources import Stored

__all__ = ["measured", "same_bits"]

FINAL_US = 600e3  # of interleaved timing a problem
ROUNDS = (9, 40)


def measured(
    name: str,
    problem: Any,
    clock: Any,
    answers: dict[str, Stored | str],
    *,
    slug: str,
    compile_s: float | None,
) -> Row:
    """Time all answers to one problem in turn; those of tunedb's kernels only where they are right.

    `answers` are those of databases, by column, or why there is none. `compile_s` limits torch.compile; None leaves
    it out.
    """
    import torch

    import tunedb
    from tunedb.device import floor_us
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import rounds_within, spread

    yardstick = Yardstick(problem, clock)
    columns = _Columns(yardstick, clock)
    calls = columns.calls
    calls["cudnn"], calls["heuristic"] = yardstick.torch_in_mode(True), yardstick.torch_in_mode(False)
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", tunedb.TunedbWarning)
        for column, found in answers.items():
            if isinstance(found, Stored):
                columns.add_stored(column, found)
            else:
                columns.notes.append(f"{column}: {found}")
        columns.add_dispatched(slug)
        if compile_s is not None:
            columns.add_compiled(compile_s)
        first = clock.times_us([*calls.values()], 1)
        times = clock.times_us([*calls.values()], rounds_within(FINAL_US, first, ROUNDS))
    columns.failures += [str(one.message) for one in said if issubclass(one.category, tunedb.TunedbWarning)]
    tunedb.clear()
    return Row(
        name, problem.op, problem.dtype, problem.layout, floor_us(problem, clock.device),
        {column: spread(of_one) for column, of_one in zip(calls, times, strict=True)},
        columns.kernels, columns.notes, columns.failures,
    )  # fmt: skip


class _Columns:
    """The calls to time for a problem, by column, and what is to be said of them."""

    def __init__(self, yardstick: Any, clock: Any) -> None:
        self.calls: dict[str, Callable[[], Any]] = {}
        self.kernels: dict[str, str] = {}
        self.notes: list[str] = []
        self.failures: list[str] = []
        self._yardstick, self._clock = yardstick, clock
        self._out: Any = None  # one output for all: they are as large as gigabytes

    def add_stored(self, name: str, found: Stored) -> None:
        from tunedb.kernel import config_from_json, load
        from tunedb.launch import launcher

        module = load(found.kernel)
        config = config_from_json(module, found.config)
        if self._out is None:
            self._out = self._yardstick.output()

        def made() -> Callable[[], Any]:
            plan = module.plan(self._yardstick.problem, config, partial(launcher, arch=found.arch))
            return partial(plan, *self._yardstick.tensors, out=self._out)

        self._add(name, found.kernel, made, lambda: self._out.fill_(float("nan")))

    def add_dispatched(self, slug: str) -> None:
        import tunedb

        problem, (x, weight, bias) = self._yardstick.problem, self._yardstick.torch_tensors
        given = problem.torch_sizes
        function = getattr(tunedb, problem.op)

        def call() -> Any:
            with self._yardstick.settings():
                return function(x, weight, bias, **given)

        with self._yardstick.settings():
            found = tunedb.explain(problem.op, x, weight, bias, device=slug, **given).answer
        if found.tier != "exact":
            self.notes.append(f"dispatched: {found.tier}: {found.reason}")
        if found.kernel == "aten":  # torch's own answer is right by definition
            self.calls["dispatched"], self.kernels["dispatched"] = call, found.kernel
        else:
            self._add("dispatched", found.kernel, lambda: call)

    def add_compiled(self, seconds: float) -> None:
        call = torch_compiled(self._yardstick, seconds)
        if isinstance(call, str):
            self.notes.append(f"compile: {call}")
            return
        judged = self._yardstick.judge(call())
        if judged.status != "ok":  # torch's own, and for people to weigh
            self.notes.append(f"compile: {judged.detail}")
        self.calls["compile"] = call

    def _add(
        self, name: str, kernel: str, made: Callable[[], Callable[[], Any]], before: Callable[[], Any] = int
    ) -> None:
        """Take part where the result is right, and bitwise the same when computed again."""
        from tunedb.compile import failure

        try:
            call = made()
            before()
            first = call().clone()
            judged = self._yardstick.judge(first)
            before()
            same = same_bits(first, call())
        except Exception as error:
            if failure(error) is None and not isinstance(error, RuntimeError):
                raise
            if not self._clock.alive():
                raise
            self.failures.append(f"{name}: {kernel}: {said_of(error)}")
            return
        self.kernels[name] = kernel
        if judged.status != "ok":
            self.failures.append(f"{name}: {kernel}: {judged.detail}")
        elif not same:
            self.failures.append(
                f"{name}: {kernel}: the same call twice must give the same bits, but differs"
            )
        else:
            self.calls[name] = call


def same_bits(first: Any, second: Any) -> bool:
    """Return whether two results of equal strides are the same, bit for bit."""
    import torch

    whole = {2: torch.int16, 4: torch.int32}[first.element_size()]
    return torch.equal(first.view(whole), second.view(whole))
