"""Replay a search over a recorded landscape, by each of several samplers, as a sweep would have run it.

As in a sweep, several configs are under way at a time, none is tried twice, one that fails costs a trial, and
one that is not valid (here: not recorded) costs none and is told to the sampler as pruned.
"""

import contextlib
import importlib.util
import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from samplers.landscapes import Landscape, outcomes, space
from tunedb.record import Choice, Measurement
from tunedb.tune.search import Policy, Search
from tunedb.tune.space import Space, Value, is_ordered

__all__ = ["AHEAD", "SAMPLERS", "Replay", "Sampler", "available", "replayed"]

AHEAD = 12  # under way at a time: what a driver with 14 compile processes settles at
STARTUP = 10  # random configs before a sampler is asked
PATIENCE = 4  # asks of a sampler that may come back invalid before a random config is taken


class Replay(NamedTuple):
    """What one search gave: the best time after each trial (infinite before the first right one)."""

    best: list[float]

    def reached(self, target: float) -> int | None:
        """Return how many trials it took to a time of at most `target`."""
        return next((count for count, time in enumerate(self.best, 1) if time <= target), None)


class Searching(Protocol):
    def ask(self) -> Choice | None: ...

    def tell(self, choice: Choice, measurement: Measurement) -> object: ...


class Sampler(NamedTuple):
    """A way to search: `made(space, trials, seed)`. It may need a package, and may be too slow for many seeds."""

    said: str
    made: Callable[[Space, int, int], Searching]
    needs: tuple[str, ...] = ()
    slow: bool = False


def available(sampler: Sampler) -> str:
    """Return the packages that a sampler misses, or an empty string."""
    return ", ".join(name for name in sampler.needs if importlib.util.find_spec(name) is None)


def replayed(
    landscapes: Sequence[Landscape],
    sampler: Sampler,
    seed: int,
    *,
    trials: int,
    target: float,
    least: int,
    ahead: int = AHEAD,
) -> Replay:
    """Search one problem's landscapes until `target` is reached, after `least` trials or more, `trials` at most."""
    answers = outcomes(landscapes)
    ground = space(landscapes, seed=seed)
    search = sampler.made(ground, min(trials, len(answers) - 1), seed)
    best, pending = [], []
    lowest = float("inf")
    while len(best) < trials and not (lowest <= target and len(best) >= least):
        choice = search.ask() if len(pending) < ahead else None
        if choice is not None:
            pending.append(choice)
            continue
        if not pending:
            break  # the landscape is used up
        choice = pending.pop(0)
        measured = answers[choice]
        search.tell(choice, measured)
        if measured.status == "ok" and measured.time_us is not None:
            lowest = min(lowest, measured.time_us)
        best.append(lowest)
    return Replay(best)


class _InOrder:
    """Brute force: the configs as they stand, field by field."""

    def __init__(self, ground: Space, trials: int, seed: int) -> None:
        del seed
        found = (
            ground.choice(name, dict(zip(fields, values, strict=True)))
            for name, fields in ground.fields.items()
            for values in itertools.product(*fields.values())
        )
        self._left = itertools.islice((choice for choice in found if choice is not None), trials)

    def ask(self) -> Choice | None:
        return next(self._left, None)

    def tell(self, choice: Choice, measurement: Measurement) -> None:
        pass


class _Drawn:
    """Random configs, none twice: brute force in shuffled order. The kernels' defaults come first."""

    def __init__(self, ground: Space, trials: int, seed: int) -> None:
        self._ground, self._left = ground, trials
        self._rng = random.Random(seed)
        self._known: set[Choice] = set()
        self._first = ground.defaults()

    def ask(self) -> Choice | None:
        if not self._left:
            return None
        self._left -= 1
        choice = self._first.pop(0) if self._first else self.proposed()
        choice = choice or self._ground.draw(self._rng, self._known)
        if choice is not None:
            self._known.add(choice)
        return choice

    def proposed(self) -> Choice | None:
        return None

    def tell(self, choice: Choice, measurement: Measurement) -> None:
        pass


class _Asked(_Drawn):
    """Random configs first, then those of a sampler of Optuna.

    `numeric` gives every field, of names too, by its index, and every kernel's fields in every trial: what a
    sampler needs that knows numbers only.
    """

    def __init__(
        self, ground: Space, trials: int, seed: int, *, sampler: Callable[[int], Any], numeric: bool = False
    ) -> None:
        import optuna

        super().__init__(ground, trials, seed)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._numeric, self._told = numeric, 0
        self._trials: dict[Choice, Any] = {}
        with _quiet():
            self._study = optuna.create_study(sampler=sampler(seed))

    def proposed(self) -> Choice | None:
        from optuna.trial import TrialState

        for _ in range(PATIENCE if self._told >= STARTUP else 0):
            with _quiet():
                trial = self._study.ask(self._distributions())
                choice = self._suggested(trial)
            if choice is None:
                self._study.tell(trial, state=TrialState.PRUNED)
            elif choice in self._known:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._trials[choice] = trial
                return choice
        return None

    def tell(self, choice: Choice, measurement: Measurement) -> None:
        from optuna.trial import TrialState, create_trial

        self._told += 1
        fine = measurement.status == "ok"
        state = TrialState.COMPLETE if fine else TrialState.PRUNED
        trial = self._trials.pop(choice, None)
        if trial is not None:
            self._study.tell(trial, measurement.time_us if fine else None, state=state)
            return
        distributions = self._distributions(choice.kernel)
        own = {f"{choice.kernel}.{field}": v for field, v in self._ground.values(choice).items()}
        own["kernel"] = choice.kernel
        choices = self._choices()
        params = {
            name: self._encoded(own[name], choices[name]) if name in own else 0 for name in distributions
        }
        value = measurement.time_us if fine else None
        self._study.add_trial(
            create_trial(state=state, value=value, params=params, distributions=distributions)
        )

    def _choices(self) -> dict[str, tuple[Value, ...]]:
        """Return the parameters that have a choice: the kernel, and each kernel's fields."""
        fields = {
            f"{name}.{field}": v for name, given in self._ground.fields.items() for field, v in given.items()
        }
        every: dict[str, tuple[Value, ...]] = {"kernel": tuple(self._ground.fields), **fields}
        return {name: choices for name, choices in every.items() if len(choices) > 1}

    def _distributions(self, kernel: str | None = None) -> dict[str, Any]:
        """Return what is asked for in one go: all of it where numbers are needed, or where there is one kernel."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if kernel is None and not self._numeric and len(self._ground.fields) > 1:
            return {}
        return {
            name: IntDistribution(0, len(choices) - 1)
            if self._numeric or is_ordered(choices)
            else CategoricalDistribution(choices)
            for name, choices in self._choices().items()
            if self._numeric or kernel is None or name == "kernel" or name.startswith(f"{kernel}.")
        }

    def _encoded(self, value: Value, choices: Sequence[Value]) -> Value:
        return choices.index(value) if self._numeric or is_ordered(choices) else value

    def _suggested(self, trial: Any) -> Choice | None:
        choices = self._choices()

        def value(name: str, single: Sequence[Value]) -> Value:
            if name not in choices:
                return single[0]
            if self._numeric or is_ordered(choices[name]):
                return choices[name][trial.suggest_int(name, 0, len(choices[name]) - 1)]
            chosen: Value = trial.suggest_categorical(name, choices[name])
            return chosen

        kernel = str(value("kernel", tuple(self._ground.fields)))
        fields: Mapping[str, Sequence[Value]] = self._ground.fields[kernel]
        return self._ground.choice(
            kernel, {field: value(f"{kernel}.{field}", given) for field, given in fields.items()}
        )


def _tpe(seed: int, *, multivariate: bool) -> Any:
    """Return TPE with every option that matters given: what Optuna takes by default changed with its version 5."""
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=STARTUP, seed=seed, multivariate=multivariate, group=multivariate, constant_liar=True
    )


def _gp(seed: int) -> Any:
    from optuna.samplers import GPSampler

    return GPSampler(n_startup_trials=STARTUP, seed=seed, deterministic_objective=True)


def _cma(seed: int) -> Any:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(n_startup_trials=STARTUP, seed=seed, warn_independent_sampling=False)


def _ours(ground: Space, trials: int, seed: int, **policy: float) -> Searching:
    del seed  # the space has it
    return Search(ground, trials, policy=Policy(**policy))


SAMPLERS = {
    "tunedb": Sampler("tunedb's search, as it is", _ours),
    "random": Sampler("random, none twice: brute force in shuffled order", _Drawn),
    "in order": Sampler("brute force, field by field", _InOrder),
    "TPE": Sampler(
        "TPE, each field by itself, constant_liar", partial(_Asked, sampler=partial(_tpe, multivariate=False))
    ),
    "TPE multivariate": Sampler(
        "TPE, multivariate, group, constant_liar", partial(_Asked, sampler=partial(_tpe, multivariate=True))
    ),
    "CMA-ES": Sampler(
        "CMA-ES, every field by index", partial(_Asked, sampler=_cma, numeric=True), needs=("cmaes",)
    ),
    "GP": Sampler(
        "GP, every field by index", partial(_Asked, sampler=_gp, numeric=True),
        needs=("scipy", "torch"), slow=True,
    ),
    "no steps": Sampler("tunedb's search without steps", partial(_ours, steps=0.0)),
    "steps only": Sampler("tunedb's search without TPE", partial(_ours, steps=1.0)),
    "three leaders": Sampler("tunedb's search with steps from the best three", partial(_ours, leaders=3)),
    "no covering set": Sampler("tunedb's search without its covering set", partial(_ours, covering=0.0)),
}  # fmt: skip


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
