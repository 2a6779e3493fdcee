"""Which configs a search tries first: what is known of its problem, then what the predictor expects most of."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tunedb.dispatch.unseen.choose import judged
from tunedb.dispatch.unseen.features import KERNELS
from tunedb.dispatch.unseen.shipped import shipped_predictor
from tunedb.dispatch.unswept import knows
from tunedb.kernel import config_from_json
from tunedb.record import Choice, Tried
from tunedb.tune.predict.time_model import expected_log, time_model
from tunedb.tune.search import Policy, Search, rng_of
from tunedb.tune.space import Space

__all__ = ["Start", "begun", "start"]

# All together cost the predictor 0.1 s, by which a search begins later.
DRAWN = 400  # random configs that are judged, beside defaults and winners of similar problems
LEADERS, STEPS = 12, 8  # of the best of them, with so many neighbours each
LEAST, SHARE, MOST = 8, 3, 12  # the best are tried first: one for three trials, within these bounds
FAR = 1.0  # doublings of time behind the best: other kernels' guesses and a short search's defaults that are further come last or not at all
SHORT = 32  # trials of a short search; a long one tries defaults up to twice as far behind
KIN = 5  # winners of similar problems that are tried where nothing is predicted
# The first choices are alike: with one leader and as many steps as TPE a search stayed beside them (docs/experiments.md, 2026-11-27, third model).
LED = Policy(leaders=3, steps=0.3, covering=0.25, defaults=False)


Judge = Callable[[Sequence[tuple[str, Any]]], Sequence[float]]  # the more, the better, as log2


class Start(NamedTuple):
    """What a search tries first, and how it divides its trials after that."""

    choices: list[Choice]
    policy: Policy


def begun(
    space: Space,
    trials: int,
    hints: Sequence[Choice] = (),
    kin: Sequence[Choice] = (),
    past: Sequence[Tried] = (),
    spare: int = 0,
) -> Search:
    """Return a search that tries first what `start` says."""
    first = start(space, hints, kin, trials)
    return Search(space, trials, past=past, hints=first.choices, spare=spare, policy=first.policy)


def start(space: Space, hints: Sequence[Choice], kin: Sequence[Choice], trials: int) -> Start:
    """Return the first choices of a search of so many trials. It is the same in every run.

    `hints` are what databases hold of the very problem: they come first. `kin` are winners of similar problems. Winners, defaults
    and random configs follow in the order of what the device's predictor, or the time model, expects of them.
    """
    judge = _judge_of(space)
    if judge is not None:
        try:
            best, defaults = _expected(judge, space, kin, trials)
            return Start([*hints, *best, *defaults], LED._replace(awaited=len(hints) + len(best)))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            pass  # sizes that no trial has taught anything of
    return Start([*hints, *kin[:KIN]], Policy())


def _judge_of(space: Space) -> Judge | None:
    """Return what says how good configs should be: the predictor of the device, else the time model; None where neither can be read."""
    problem, device = space.problem, space.device
    predictor = shipped_predictor()
    if predictor is not None and knows(predictor, device):
        return lambda given: [guess.gain for guess in judged(predictor, problem, device, given)]
    try:
        model = time_model()
    except (OSError, ValueError):
        return None
    return lambda given: [-expected_log(model, problem, device, *one) for one in given]


def _expected(
    of: Judge, space: Space, kin: Iterable[Choice], trials: int
) -> tuple[list[Choice], list[Choice]]:
    """Return the most promising configs, and the defaults that are worth a trial."""
    rng = rng_of(space)
    gains: dict[Choice, float] = {}

    def judge(choices: Iterable[Choice | None]) -> None:
        new = [one for one in dict.fromkeys(choices) if one and one not in gains and one.kernel in KERNELS]
        given = [(one.kernel, config_from_json(space.kernels[one.kernel], one.config)) for one in new]
        gains.update(zip(new, of(given), strict=True))

    defaults = space.defaults()
    judge([*map(space.admits, kin), *defaults, *(space.draw(rng, set()) for _ in range(DRAWN))])
    leaders = _best_first(gains)[:LEADERS]
    judge([space.step(rng, one, {}) for one in leaders for _ in range(STEPS)])

    best = _spread(gains, min(MOST, max(LEAST, trials // SHARE)))
    near = max(gains.values(), default=0.0) - (FAR if trials < SHORT else 2 * FAR)
    return best, [one for one in defaults if gains.get(one, near) >= near]


def _spread(gains: Mapping[Choice, float], count: int) -> list[Choice]:
    """Return so many of the best, half of them of one kernel at most where others are expected to take less than twice the best's time.

    Of configs that the predictor cannot tell apart one is taken: the others are neighbours, which the search steps to.
    """
    near = max(gains.values(), default=0.0) - FAR
    told: dict[tuple[str, float], Choice] = {}
    for one in _best_first(gains):
        told.setdefault((one.kernel, gains[one]), one)
    taken: list[Choice] = []
    left: list[Choice] = []
    of: Counter[str] = Counter()
    for one in told.values():
        (taken if of[one.kernel] < count // 2 and gains[one] >= near else left).append(one)
        of[one.kernel] += 1
    return [*taken, *left][:count]


def _best_first(gains: Mapping[Choice, float]) -> list[Choice]:
    return sorted(gains, key=lambda one: (-gains[one], one))
