"""What a sweep came to: in counts, and in the time of one forward pass."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tunedb.describe import counted, micros
from tunedb.problem import Problem
from tunedb.record import Record

__all__ = ["STOPS", "Layer", "Summary", "endings", "table_of"]

# How a sweep says that it was stopped: by Ctrl-C, by SIGTERM, or by its own limit.
STOPS = ("interrupted", "terminated", "time limit")
# The exit status of a program that a signal ended: 128 and the signal.
_SIGNALLED = {"interrupted": 130, "terminated": 143}

_NO_LAYERS: Mapping[Problem, "Layer"] = {}


class Layer(NamedTuple):
    """One problem in the terms of a model. Times are GPU microseconds of one call, and None where they are unknown."""

    label: str
    calls: int  # of one forward pass
    before_us: float | None  # torch's own kernel
    after_us: float | None  # the answer, which may be torch's own kernel; None where there is none
    floor_us: float
    trials: int  # of the answer, in all sweeps; 0 where there is none
    state: str  # as in Summary.states
    why: str = ""  # it was left, or not searched further

    @property
    def saved_us(self) -> float:
        """What the answer saves of a forward pass."""
        if self.before_us is None or self.after_us is None:
            return 0.0
        return self.calls * (self.before_us - self.after_us)

    @property
    def pass_us(self) -> float:
        """What the layer takes of a forward pass now; 0 where nobody knows."""
        return self.calls * (self.after_us or self.before_us or 0.0)


class Summary(NamedTuple):
    """What a sweep came to."""

    records: Mapping[Problem, Record]  # written by this run or found in the history
    states: Mapping[
        Problem, str
    ]  # of every problem: done, left, failed, timed out, running (elsewhere) or waiting
    causes: Mapping[Problem, str]  # of those that failed or timed out
    bugs: Mapping[Problem, str]  # tracebacks of those that failed because code is wrong, not because a GPU is
    labels: Mapping[Problem, str]
    trials: int  # of this run, not of earlier ones
    failures: Counter[str]  # status: trials of this run that came to it
    seconds: float
    gpus: int
    ended: str  # "", or why it stopped: "interrupted" (Ctrl-C), "terminated" (SIGTERM), "time limit", "minutes are over"
    layers: Mapping[Problem, Layer] = _NO_LAYERS  # every problem in the terms of a model
    by_gain: bool = False  # it was searched by gain, for some minutes

    @property
    def complete(self) -> bool:
        """Whether every problem has its answer; by gain, whether none failed and at least one could be timed."""
        states = set(self.states.values())
        if not self.by_gain:
            return states <= {"done"}
        timed = any(layer.before_us or layer.after_us for layer in self.layers.values())
        return states <= {"done", "left", "waiting"} and self.ended not in _SIGNALLED and timed

    @property
    def expected(self) -> bool:
        """Whether the records' times, and torch's, are by proxy or predicted: nothing was timed on the GPU itself."""
        return bool(self.records) and all(one.provenance != "measured" for one in self.records.values())

    @property
    def exit_status(self) -> int:
        """The status that a command ends with: 0 done, 1 not every answer, 130 after Ctrl-C, 143 after SIGTERM."""
        return _SIGNALLED.get(self.ended, 0 if self.complete else 1)

    @property
    def trials_per_second(self) -> float:
        """Trials a second a GPU, compilation and verification included."""
        return self.trials / max(self.seconds, 1e-9) / max(self.gpus, 1)

    def line(self) -> str:
        """Return the counts in one line."""
        states = Counter(self.states.values())
        counts = ", ".join(
            f"{states[name]} {name}"
            for name in ("done", "left", "failed", "timed out", "running", "waiting")
            if states[name]
        )
        failed = ", ".join(f"{count} {status}" for status, count in self.failures.most_common())
        text = f"{counted(len(self.states), 'problem')}: {counts or 'none'}; {counted(self.trials, 'trial')} in {self.seconds:.0f} s"
        text += (
            f", {self.trials_per_second:.1f} a second a GPU"
            if self.gpus
            else f", {self.trials / max(self.seconds, 1e-9):.1f} a second"
        )
        text += f"; failed trials: {failed or 'none'}"
        return text + (f"; stopped: {self.ended}" if self.ended else "")


def table_of(summary: Summary) -> list[tuple[str, ...]]:
    """Return a head and rows of text: a row a record, or by gain a row a layer, the largest saving first."""
    return _layers(summary) if summary.by_gain else _problems(summary)


def _problems(summary: Summary) -> list[tuple[str, ...]]:
    if summary.expected:
        return [
            ("problem", "kernel", "expected", "torch expected", "floor"),
            *(
                (summary.labels[problem], one.kernel, *map(micros, (one.time_us, one.aten_us, one.floor_us)))
                for problem, one in summary.records.items()
            ),
        ]
    rows: list[tuple[str, ...]] = [("problem", "kernel", "time", "aten", "floor", "speed-up")]
    for problem, record in summary.records.items():
        gain = "-" if record.aten_us is None else f"{record.aten_us / record.time_us:.2f}x"
        times = (micros(record.time_us), micros(record.aten_us), micros(record.floor_us))
        rows.append((summary.labels[problem], record.kernel, *times, gain))
    return rows


def _layers(summary: Summary) -> list[tuple[str, ...]]:
    known = not summary.expected and any(layer.before_us for layer in summary.layers.values())
    gain = ("before", "after", "saved a forward pass") if known else ("expected",)
    rows: list[tuple[str, ...]] = [("layer", "state", "calls", *gain, "trials")]
    layers = sorted(summary.layers.values(), key=lambda layer: (-layer.saved_us, -layer.pass_us))
    for layer in layers:
        times: tuple[str, ...] = (
            micros(layer.before_us),
            micros(layer.after_us),
            micros(layer.saved_us or None),
        )
        times = times if known else times[1:2]
        rows.append((layer.label, layer.state, str(layer.calls), *times, str(layer.trials)))
    return rows


def _total(summary: Summary) -> str:
    """Return what the convolutions of a forward pass took and take, and how much of it nobody has searched."""
    layers = [layer for layer in summary.layers.values() if layer.pass_us]
    now = sum(layer.pass_us for layer in layers)
    saved = sum(layer.saved_us for layer in layers)
    if summary.expected or not any(layer.before_us for layer in layers):
        return f"convolutions of one forward pass: {micros(now or None)} expected"
    text = f"convolutions of one forward pass: {micros(now + saved)} before -> {micros(now)} after, {micros(saved or None)} saved"
    if now:
        text += f" ({saved / (now + saved):.1%})"
        for state in ("left", "waiting"):
            held = sum(layer.pass_us for layer in layers if layer.state == state)
            text += f"; {held / now:.1%} of what remains in layers {state}" if held else ""
    unknown = len(summary.layers) - len(layers)
    return text + (
        f"; {counted(unknown, 'layer')} without a time {'is' if unknown == 1 else 'are'} not counted"
        if unknown
        else ""
    )


def endings(summary: Summary) -> list[str]:
    """Return what stands under the table: why layers were left, every failure with its cause, and the counts last."""
    lines = [
        f"{layer.label}: left: {layer.why}"
        for layer in summary.layers.values()
        if summary.by_gain and layer.state == "left"
    ]
    lines += [
        f"{summary.labels[problem]}: {summary.states[problem]}: {cause}"
        for problem, cause in summary.causes.items()
    ]
    for problem, text in summary.bugs.items():
        lines.append(f"A programming error failed {summary.labels[problem]}:\n{text.rstrip()}")
    return [*lines, *([_total(summary)] if summary.by_gain else []), summary.line()]
