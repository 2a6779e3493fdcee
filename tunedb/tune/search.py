"""Which config to try next for one problem: first what is known beforehand, then Optuna's TPE and small steps."""

import contextlib
import math
import random
import warnings
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from tunedb.record import Choice, Measurement, Tried
from tunedb.tune.space import Space, Value, is_ordered

__all__ = ["Policy", "Search", "rng_of"]

# Suggestions of TPE that may be invalid or already tried before a random config is taken; each costs up to 10 ms.
_PATIENCE = 4


class Policy(NamedTuple):
    """How a search divides its trials; scripts/compare_samplers.py compares other values on recorded landscapes."""

    startup: int = 10  # finished trials before TPE and steps are used: Optuna's own default
    steps: float = 0.5  # share of later choices that step from one of the best trials; TPE makes the others
    leaders: int = 1  # how many of the best trials steps start from; docs/samplers.md says why one
    covering: float = 1 / 3  # largest share of the trials spent on trying each value of each field once
    defaults: bool = True  # whether each kernel's own are tried after the hints
    awaited: int = 0  # of the first choices, so many are waited for, however slowly they compile


_POLICY = Policy()


class _Axis(NamedTuple):
    """One parameter of the search: a field of a kernel with more than one choice."""

    name: str
    choices: tuple[Value, ...]

    @property
    def ordered(self) -> bool:
        """Whether TPE can use the order: then it searches by index."""
        return is_ordered(self.choices)

    def distribution(self) -> Any:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return (
            IntDistribution(0, len(self.choices) - 1)
            if self.ordered
            else CategoricalDistribution(self.choices)
        )

    def encode(self, value: Value) -> Value:
        return self.choices.index(value) if self.ordered else value

    def suggest(self, trial: Any) -> Value:
        if self.ordered:
            index: int = trial.suggest_int(self.name, 0, len(self.choices) - 1)
            return self.choices[index]
        value: Value = trial.suggest_categorical(self.name, self.choices)
        return value


class Search:
    """Suggests configs and takes their results; it never suggests the same config twice.

    `past` are trials of an earlier sweep: they count. `hints` are tried first, in their order.
    A space with no more valid configs than `trials` is tried whole. In a larger one up to `spare` more choices are
    given out, and the search is finished after `trials` results: it does not wait for the slowest compilations, but for
    those of the first choices that its policy says.
    """

    def __init__(
        self,
        space: Space,
        trials: int,
        *,
        past: Sequence[Tried] = (),
        hints: Iterable[Choice] = (),
        spare: int = 0,
        policy: Policy = _POLICY,
    ) -> None:
        self.space = space
        self.trials = trials
        self._spare = spare
        self._policy = policy
        self.tried: list[Tried] = []
        self._rng = rng_of(space)
        self._known: dict[
            Choice, Any
        ] = {}  # every choice asked for, with its Optuna trial while it is pending
        self.pending = 0  # asked for and not yet told
        self._axes = {name: _axes(name, fields) for name, fields in space.fields.items()}
        self._kernel = _Axis("kernel", tuple(space.fields))
        whole = space.at_most(trials)
        self.exhaustive = whole is not None
        self._study = None if self.exhaustive else _study(self._rng.randrange(2**31), policy)
        for tried in past:
            self._remember(tried)
        self._seeds = deque(self._first(whole, hints))
        self._awaited = set(islice(self._seeds, min(policy.awaited, max(0, trials - len(self.tried)))))

    @property
    def seeded(self) -> bool:
        """Whether the next choice is known without any result."""
        return bool(self._seeds)

    @property
    def finished(self) -> bool:
        """Whether enough trials have ended."""
        if self.exhaustive:
            return not self.pending and not self._seeds
        return len(self.tried) >= self.trials and not self._awaited

    def ask(self) -> Choice | None:
        """Return the next choice to try, or None where enough are under way or nothing is left."""
        if self.exhaustive:
            choice = self._seeds.popleft() if self._seeds else None
        elif len(self.tried) + self.pending >= self.trials + self._spare:
            self._seeds.clear()
            return None
        else:
            choice = self._queued() or self._improved() or self._sampled() or self._random()
        if choice is None:
            self.trials = min(self.trials, len(self.tried) + self.pending)  # the space is used up
            return None
        self._known.setdefault(choice, None)
        self.pending += 1
        return choice

    def tell(self, choice: Choice, measurement: Measurement) -> Tried | None:
        """Note what came of a choice. Return the trial, or None for an invalid config, which is not one."""
        self.pending -= 1
        self._awaited.discard(choice)
        trial, self._known[choice] = self._known[choice], None
        if trial is not None and self._study is not None:
            from optuna.trial import TrialState

            # A failure is pruned rather than failed, because TPE ignores failed trials and would come back.
            if measurement.status == "ok":
                self._study.tell(trial, measurement.time_us)
            else:
                self._study.tell(trial, state=TrialState.PRUNED)
        if measurement.status == "invalid":
            return None
        self.tried.append(Tried(*choice, measurement))
        return self.tried[-1]

    def best(self, count: int) -> list[Tried]:
        """Return the fastest trials that were right, fastest first."""
        fine = [tried for tried in self.tried if tried.measurement.status == "ok"]
        return sorted(fine, key=lambda tried: tried.measurement.time_us or math.inf)[:count]

    def _first(self, whole: list[Choice] | None, hints: Iterable[Choice]) -> Iterator[Choice]:
        """Yield the choices that are tried before any result is used, each once and none that is known."""
        # What won elsewhere first: where trials are few it gives more than what a kernel's default does.
        first = [choice for hint in hints if (choice := self.space.admits(hint))]
        first += self.space.defaults() if self._policy.defaults else []
        if whole is None:
            limit = int(self.trials * self._policy.covering)
            first += self.space.covering(self._rng, [*first, *self._known], limit) if limit else []
        else:
            first += self._rng.sample(whole, len(whole))
        return (choice for choice in dict.fromkeys(first) if choice not in self._known)

    def _remember(self, tried: Tried) -> None:
        """Take over a trial of an earlier sweep."""
        self.tried.append(tried)
        self._known[tried.choice] = None
        params = self._params(tried.choice)
        if self._study is None or params is None:
            return
        from optuna.trial import TrialState, create_trial

        fine = tried.measurement.status == "ok"
        self._study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if fine else TrialState.PRUNED,
                value=tried.measurement.time_us if fine else None,
                params=params,
                distributions={axis.name: axis.distribution() for axis in self._parameters(tried.kernel)},
            )
        )

    def _queued(self) -> Choice | None:
        while self._seeds:
            choice = self._seeds.popleft()
            if choice not in self._known:
                return self._enqueued(choice)
        return None

    def _random(self) -> Choice | None:
        choice = self.space.draw(self._rng, self._known)
        return None if choice is None else self._enqueued(choice)

    def _improved(self) -> Choice | None:
        """Take a step from one of the best trials, as often as the policy says.

        Alternating the two found better configs in 40 and in 100 trials than TPE alone or steps alone.
        """
        best = self.best(self._policy.leaders)
        if len(self.tried) < self._policy.startup or not best or self._rng.random() < 1 - self._policy.steps:
            return None
        choice = self.space.step(self._rng, self._rng.choice(best).choice, self._known)
        return None if choice is None else self._enqueued(choice)

    def _enqueued(self, choice: Choice) -> Choice:
        """Let Optuna know that a choice is under way, so that TPE keeps away from it."""
        params = self._params(choice)
        if self._study is not None and params is not None:
            self._study.enqueue_trial(params)
            trial = self._study.ask()
            for axis in self._parameters(choice.kernel):
                axis.suggest(trial)
            self._known[choice] = trial
        return choice

    def _sampled(self) -> Choice | None:
        assert self._study is not None
        if len(self.tried) < self._policy.startup:
            return None  # until then TPE is random too, and may suggest invalid configs; _random gives valid ones
        from optuna.trial import TrialState

        for _ in range(_PATIENCE):
            trial = self._study.ask()
            name = (
                str(self._kernel.suggest(trial))
                if len(self._kernel.choices) > 1
                else str(self._kernel.choices[0])
            )
            values = {field: choices[0] for field, choices in self.space.fields[name].items()}
            for axis in self._axes[name]:
                values[axis.name.partition(".")[2]] = axis.suggest(trial)
            choice = self.space.choice(name, values)
            if choice is None:
                self._study.tell(trial, state=TrialState.PRUNED)
            elif choice in self._known:
                self._study.tell(
                    trial, state=TrialState.FAIL
                )  # ignored: it must not count against the config
            else:
                self._known[choice] = trial
                return choice
        return None

    def _parameters(self, name: str) -> list[_Axis]:
        return ([self._kernel] if len(self._kernel.choices) > 1 else []) + self._axes[name]

    def _params(self, choice: Choice) -> dict[str, Value] | None:
        """Return a choice as Optuna's parameters, or None where a value lies outside the space."""
        admitted = self.space.admits(choice)
        if admitted is None:
            return None
        values = {"kernel": choice.kernel} | {
            f"{choice.kernel}.{field}": v for field, v in self.space.values(choice).items()
        }
        axes = self._parameters(choice.kernel)
        if any(values[axis.name] not in axis.choices for axis in axes):
            return None
        return {axis.name: axis.encode(values[axis.name]) for axis in axes}


def rng_of(space: Space) -> random.Random:
    """Return the random numbers of a problem: the same in every run and on every machine."""
    return random.Random(zlib.crc32(repr(space.problem).encode()))


def _axes(name: str, fields: Mapping[str, tuple[Value, ...]]) -> list[_Axis]:
    return [_Axis(f"{name}.{field}", choices) for field, choices in fields.items() if len(choices) > 1]


def _study(seed: int, policy: Policy) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _quiet():
        sampler = optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=policy.startup, seed=seed
        )
    return optuna.create_study(sampler=sampler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
