"""What a sweep searches next, and with how many trials in all: everything alike, or first where most time is to be won."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tunedb.device import floor_us
from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.tune.choose_winner import ATEN
from tunedb.tune.settings import Settings

__all__ = ["STAGES", "ByGain", "Equal", "Schedule", "Standing", "Task", "Verdict", "schedule_for"]

STAGES = (12, 40, 100, 200)  # trials in all, of a layer that is searched by gain
# The part of the distance to the floor that a stage closes: on the recorded landscapes 0.77, 0.15, 0.04 and 0.002 on
# average. They are of layers that gain, so that the first is taken lower here.
_PROMISE = (0.5, 0.15, 0.04, 0.01)
_TORCH_WINS = 0.3  # of its promise is left to a layer whose answer is still torch's own kernel
_AT_FLOOR = 1.1  # times the floor: nearer than that nothing is searched
_SMALL = 0.002  # of the model's convolution time: whoever can win less is not searched
_GUESS = 4.0  # times the floor: torch, before it has been timed; it stands there on many layers (3 to 16)
_LOOKING = 0.3  # of the time at most goes into looks before searches begin


class Task(NamedTuple):
    """A problem to search until it has that many trials in all. With 0 trials it is only looked at: torch is timed."""

    problem: Problem
    trials: int


class Verdict(NamedTuple):
    """What is to become of a problem: "waiting" where there is more to do, else "done" or "left", and why."""

    state: str
    why: str = ""


class Standing(NamedTuple):
    """Where a sweep by gain stands: microseconds of one forward pass, of the layers that are known."""

    layers: int
    known: int
    before_us: float  # torch's
    after_us: float
    open_us: float  # above the floor, of the layers that are still searched


class Schedule(Protocol):
    """Decides on the order of the work, and learns from what comes of it. It keeps nothing between two sweeps."""

    def next(self, waiting: Iterable[Problem]) -> Task | None:
        """Return what is worth most of what waits; None where that is nothing."""

    def counts(self, trials: int) -> bool:
        """Return whether an answer of so many trials says something here."""

    def guessed(self, problem: Problem, aten_us: float) -> None:
        """Note what torch may take, from somewhere else."""

    def looked(self, problem: Problem, aten_us: float | None, seconds: float | None = None) -> None:
        """Note what torch takes, and how long it took to find out."""

    def answered(
        self, problem: Problem, record: Record, trials: int, new: int = 0, seconds: float | None = None
    ) -> None:
        """Note an answer of so many trials in all, and how long its `new` trials took, where that was here."""

    def verdict(self, problem: Problem) -> Verdict:
        """Return what is to become of a problem."""

    def open_us(self, problem: Problem) -> float | None:
        """Return what a problem can still win in one forward pass, in microseconds; None where nobody asks."""

    def failed(self, problem: Problem) -> None:
        """Leave a problem out: it has no time, and the others are not to wait for it."""

    def standing(self) -> Standing | None:
        """Return where the sweep stands; None where nobody asks."""


def schedule_for(problems: Iterable[Problem], settings: Settings) -> Schedule:
    """Return the schedule that the settings ask for."""
    floors = {problem: floor_us(problem, settings.device) for problem in problems}
    if settings.minutes is None:
        return Equal(floors, settings.trials_each)
    return ByGain(
        floors, settings.calls or {}, most=settings.trials, seconds=60 * settings.minutes * len(settings.slots),
        looks=settings.provenance == "measured",
    )  # fmt: skip


class Equal:
    """Each problem once, with the same number of trials; long ones first, so that all GPUs end at about the same time."""

    def __init__(self, floors: Mapping[Problem, float], trials: int) -> None:
        self._floors = floors
        self._trials = trials
        self._done: set[Problem] = set()

    def next(self, waiting: Iterable[Problem]) -> Task | None:
        longest = max(waiting, key=self._floors.__getitem__, default=None)
        return None if longest is None else Task(longest, self._trials)

    def counts(self, trials: int) -> bool:
        return trials >= self._trials

    def guessed(self, problem: Problem, aten_us: float) -> None:
        """Guesses are not needed."""

    def looked(self, problem: Problem, aten_us: float | None, seconds: float | None = None) -> None:
        """Nothing is only looked at."""

    def answered(
        self, problem: Problem, record: Record, trials: int, new: int = 0, seconds: float | None = None
    ) -> None:
        del record, trials, new, seconds
        self._done.add(problem)

    def verdict(self, problem: Problem) -> Verdict:
        return Verdict("done" if problem in self._done else "waiting")

    def open_us(self, problem: Problem) -> None:
        del problem  # nobody asks

    def failed(self, problem: Problem) -> None:
        """The others do not depend on it."""

    def standing(self) -> None:
        return None


@dataclass
class _Layer:
    """What is known of one problem; times in microseconds a call."""

    calls: int
    floor_us: float
    guess_us: float
    gone: bool = False  # it failed
    aten_us: float | None = None
    best_us: float | None = None  # of its answer, torch's own kernel included
    trials: int = 0  # in all, of its answer
    used_up: bool = False  # it has no further configs
    closed: float | None = None  # the part of the distance to the floor that its last stage closed
    torch_wins: bool = False
    trial_s: float | None = None  # seconds a trial of its last stage

    @property
    def before_us(self) -> float:
        return self.aten_us or self.best_us or self.guess_us

    @property
    def now_us(self) -> float:
        return self.best_us or self.before_us

    @property
    def open_us(self) -> float:
        """What a forward pass would save if the layer came down to its floor."""
        return self.calls * max(0.0, self.now_us - self.floor_us)


class ByGain:
    """The layer first whose next stage should save most of a forward pass for a second of searching.

    Each is looked at first, by calls x a guess, until `looks` have taken their part of the `seconds`. Then trials are
    given in growing stages, `most` in all: to the largest calls x (its time so far - floor) x the part that such a
    stage usually closes, over the seconds that it will take. Both are corrected by what the last stage gave and took.
    """

    def __init__(
        self,
        floors: Mapping[Problem, float],
        calls: Mapping[Problem, int],
        *,
        most: int | None = None,
        seconds: float = float("inf"),
        looks: bool = True,
    ) -> None:
        self._layers = {
            problem: _Layer(calls.get(problem, 1), floor, _GUESS * floor) for problem, floor in floors.items()
        }
        self._unseen = set(floors) if looks else set()
        self._total_us: float | None = None  # of a forward pass by torch, once all are known
        last = STAGES[-1] if most is None else most
        self._stages = (*(stage for stage in STAGES if stage < last), last)
        self._looking_s = _LOOKING * seconds
        self._look_s, self._trial_s = 0.5, 0.3  # about, until this sweep has measured them

    def next(self, waiting: Iterable[Problem]) -> Task | None:
        layers = {problem: self._layers[problem] for problem in waiting}
        unseen = [problem for problem in layers if problem in self._unseen]
        searched = [
            problem for problem, layer in layers.items() if problem not in self._unseen and self._goal(layer)
        ]
        if unseen and (self._looking_s > 0 or not searched):
            return Task(max(unseen, key=lambda problem: layers[problem].open_us), 0)
        best = max(searched, key=lambda problem: self._worth(layers[problem]), default=None)
        return None if best is None else Task(best, self._goal(layers[best]) or 0)

    def counts(self, trials: int) -> bool:
        return trials > 0

    def guessed(self, problem: Problem, aten_us: float) -> None:
        self._layers[problem].guess_us = aten_us

    def looked(self, problem: Problem, aten_us: float | None, seconds: float | None = None) -> None:
        self._unseen.discard(problem)
        self._layers[problem].aten_us = aten_us
        if seconds is not None:
            self._looking_s -= seconds
            self._look_s += 0.2 * (seconds - self._look_s)

    def answered(
        self, problem: Problem, record: Record, trials: int, new: int = 0, seconds: float | None = None
    ) -> None:
        layer = self._layers[problem]
        distance = layer.now_us - layer.floor_us
        if new and distance > 0:
            layer.closed = max(0.0, layer.now_us - record.time_us) / distance
        self._unseen.discard(problem)
        layer.trials = trials
        layer.aten_us, layer.best_us = record.aten_us or layer.aten_us, record.time_us
        layer.used_up = record.trials < trials
        layer.torch_wins = record.kernel == ATEN.kernel
        if seconds is not None and new:
            layer.trial_s = max(0.01, seconds - self._look_s) / new
            self._trial_s += 0.3 * (layer.trial_s - self._trial_s)

    def verdict(self, problem: Problem) -> Verdict:
        layer = self._layers[problem]
        if problem in self._unseen:
            return Verdict("waiting")
        if layer.trials and (layer.used_up or self._goal(layer) is None):
            return Verdict("done")
        state, timed = ("done" if layer.trials else "left"), layer.aten_us or layer.best_us
        if timed is None:
            return Verdict("waiting")
        if layer.now_us <= _AT_FLOOR * layer.floor_us:
            return Verdict(
                state, f"its {layer.now_us:.3g} us are {layer.now_us / layer.floor_us:.2f} times its floor"
            )
        share = self._share(layer)
        if share is not None and share < _SMALL:
            return Verdict(state, f"it can win {share:.2%} of the model's convolution time at most")
        return Verdict("waiting")

    def failed(self, problem: Problem) -> None:
        self._layers[problem].gone = True
        self._unseen.discard(problem)
        self._total_us = None

    def open_us(self, problem: Problem) -> float:
        return self._layers[problem].open_us

    def standing(self) -> Standing:
        layers = {problem: layer for problem, layer in self._layers.items() if not layer.gone}
        known = [layer for problem, layer in layers.items() if problem not in self._unseen]
        return Standing(
            len(layers),
            len(known),
            sum(layer.calls * layer.before_us for layer in known),
            sum(layer.calls * layer.now_us for layer in known),
            sum(
                layer.open_us for problem, layer in layers.items() if self.verdict(problem).state == "waiting"
            ),
        )

    def _goal(self, layer: _Layer) -> int | None:
        """Return how many trials in all a layer has after its next stage; None after the last."""
        return next((stage for stage in self._stages if stage > layer.trials), None)

    def _worth(self, layer: _Layer) -> float:
        """Return the microseconds of a forward pass that a second of the layer's next stage should save."""
        passed = min(sum(stage <= layer.trials for stage in STAGES), len(_PROMISE) - 1)
        promise = _PROMISE[passed]
        if layer.closed is not None and passed:
            usual = _PROMISE[passed - 1]
            promise *= min(2.0, (layer.closed + usual) / (2 * usual))  # half, where it closed nothing
        if layer.torch_wins:
            promise *= _TORCH_WINS
        more = (self._goal(layer) or layer.trials) - layer.trials
        return layer.open_us * promise / (self._look_s + more * (layer.trial_s or self._trial_s))

    def _share(self, layer: _Layer) -> float | None:
        """Return which part of the model's convolution time, all by torch, a layer can win; None before all are known."""
        if self._unseen:
            return None
        if self._total_us is None:
            layers = [layer for layer in self._layers.values() if not layer.gone]
            self._total_us = sum(one.calls * one.before_us for one in layers)
        return layer.open_us / max(self._total_us, 1e-9)
