"""The search history: every trial of every sweep, kept by Optuna, and which process works on which problem.

A history may be older or newer than this code: a field that is missing has its default, and an unknown one is ignored.
"""

import contextlib
import hashlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from tunedb.errors import StorageError, TunedbWarning
from tunedb.problem import Problem
from tunedb.record import Measurement, Tried
from tunedb.tune.file_lock import FileLock
from tunedb.tune.journal_file import open_journal
from tunedb.tune.owner import is_dead
from tunedb.tune.ownership import Fence, TakenOver, fence_for
from tunedb.tune.space import Space
from tunedb.tune.storage_url import open_url, unusable

__all__ = ["STALE_S", "History", "Past", "State", "study_name"]

STALE_S = (
    60.0  # after so long without a sign of life from its owner, another process takes over a running problem
)
_METRIC = "time in us"
_MEASURED = [field for field in Measurement._fields if field != "time_us"]


class State(NamedTuple):
    """The state of a problem: waiting, running, done, failed or timed out."""

    name: str = "waiting"
    owner: str = ""  # host:process id:start time of the process; only where it is running
    since: float = 0.0  # seconds since the epoch: the last sign of life, or the end
    cause: str = ""
    trials: int = 0  # how many were asked for when it last had its answer

    def answers(self, trials: int) -> bool:
        """Whether the problem is done, with at least as many trials as are asked for now."""
        return self.name == "done" and self.trials >= trials

    def free(self, now: float) -> bool:
        """Whether no living process works on it."""
        return self.name != "running" or now - self.since > STALE_S or is_dead(self.owner)


class History:
    """One storage. Open it once: reading a journal of thousands of trials takes a good part of a second.

    `stopped` tells whether the sweep is to end, which is when a wait for a journal file's lock ends soon.
    """

    def __init__(self, storage: str, stopped: Callable[[], bool] = lambda: False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        lock = None if "://" in storage else FileLock(Path(f"{Path(storage).resolve()}.claims"), stopped)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", TunedbWarning)
                self._storage = open_journal(storage, stopped) if lock else open_url(storage)
            self._ids = {study.study_name: study._study_id for study in self._storage.get_all_studies()}  # noqa: SLF001
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (of many libraries; it is named)
            # A database's own words may hold the password, which masking takes out of the message only.
            raise unusable(storage, error) from (None if "://" in storage else error)
        self._fence = fence_for(self._storage, lock)

    def past(self, name: str, facts: Mapping[str, Any]) -> "Past":
        """Return a problem's study. A new one gets `facts` as attributes; they are the same from every sweep."""
        new = name not in self._ids
        study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(),
            load_if_exists=True,
        )
        if new:
            self._ids[name] = study._study_id  # noqa: SLF001
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it is experimental
                study.set_metric_names([_METRIC])
            for key, value in facts.items():
                study.set_user_attr(key, value)
        return Past(study, self._fence)

    def results(self, device: str, provenance: str) -> Iterator[dict[str, Any]]:
        """Yield the final results of all problems that are done for a device, also those of kernels that have changed."""
        for study in self._storage.get_all_studies():
            attrs = study.user_attrs
            if "result" in attrs and (attrs.get("device"), attrs.get("provenance")) == (device, provenance):
                yield attrs["result"]

    def every(self) -> Iterator[tuple[str, dict[str, Any], "Past"]]:
        """Yield name, facts and trials of every problem of every device, in the order in which they were begun."""
        for study in self._storage.get_all_studies():
            past = Past(optuna.load_study(study_name=study.study_name, storage=self._storage), self._fence)
            yield study.study_name, dict(study.user_attrs), past


class Past:
    """One problem's study: its trials, its state and its result. Each trial is written in one step.

    Whoever has claimed the problem may write until another one takes it over, and before a claim anyone may while nobody
    works on it. Any other write raises TakenOver and changes nothing.
    """

    def __init__(self, study: optuna.Study, fence: Fence) -> None:
        self._study = study
        self._fence = fence
        self._owner = ""  # the name under which this process has claimed it

    @property
    def state(self) -> State:
        return _state(self._study.user_attrs.get("state", {}))

    @property
    def result(self) -> dict[str, Any] | None:
        """The final result, as it was given to `finish`."""
        found: dict[str, Any] | None = self._study.user_attrs.get("result")
        return found

    @property
    def looked(self) -> float | None:
        """Torch's microseconds, where a sweep by gain has looked at the problem; None where none has."""
        found: float | None = self._study.user_attrs.get("looked")
        return found

    def look(self, aten_us: float) -> None:
        """Write what torch takes. It is no answer: the problem waits as before."""
        with self._writing():
            self._study.set_user_attr("looked", aten_us)

    def tried(self) -> list[Tried]:
        """Return the trials of all earlier sweeps, in the order in which they ended."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            attrs = trial.user_attrs
            if {"kernel", "config", "status"} <= set(attrs):
                rest: dict[str, Any] = {field: attrs[field] for field in _MEASURED if field in attrs}
                found.append(
                    Tried(attrs["kernel"], attrs["config"], Measurement(time_us=trial.value, **rest))
                )
        return found

    def hours(self) -> list[str]:
        """Return the hour in which each of the trials ended, local time of their host: "2026-11-26T20"."""
        return [
            f"{trial.datetime_complete:%Y-%m-%dT%H}" if trial.datetime_complete else ""
            for trial in self._study.get_trials(deepcopy=False)
            if {"kernel", "config", "status"} <= set(trial.user_attrs)
        ]

    def append(self, tried: Tried, space: Space, seconds: float = 0.0) -> None:
        """Write a trial that has just ended and took so long. Values, causes and times are for optuna-dashboard."""
        measurement = tried.measurement
        fine = measurement.status == "ok"
        values = space.values(tried.choice)
        distributions: dict[str, Any] = {"kernel": CategoricalDistribution(tuple(space.fields))}
        params: dict[str, Any] = {"kernel": tried.kernel}
        for field, choices in space.fields[tried.kernel].items():
            if values[field] in choices:  # the value of a default config may be none of the choices
                distributions[f"{tried.kernel}.{field}"] = CategoricalDistribution(choices)
                params[f"{tried.kernel}.{field}"] = values[field]
        attrs = {"kernel": tried.kernel, "config": tried.config}
        attrs |= {
            field: value for field in _MEASURED if (value := getattr(measurement, field)) not in (None, "")
        }
        trial = create_trial(
            state=TrialState.COMPLETE if fine else TrialState.FAIL,
            value=measurement.time_us if fine else None,
            params=params,
            distributions=distributions,
            user_attrs=attrs,
        )
        assert trial.datetime_complete is not None, "it has ended"
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=seconds)
        with self._writing():
            self._study.add_trial(trial)

    def claim(self, owner: str, trials: int) -> bool:
        """Take the problem, unless a living process works on it or it is done. Exactly one of several claimants gets it."""
        before = self.state
        if before.answers(trials) or not before.free(time.time()):
            return False
        try:
            with self._fence.writing(self._study, lambda attrs: _state(attrs) == before):
                self._set(State("running", owner, time.time(), trials=before.trials))
        except TakenOver:  # a moment ago
            return False
        time.sleep(self._fence.settle_s)
        self._owner = owner if self.state.owner == owner else ""
        return bool(self._owner)

    def heartbeat(self, trials: int = 0) -> None:
        """Write that the owner is alive and works on a problem that has an answer of so many trials."""
        with self._writing():
            self._set(State("running", self._owner, time.time(), trials=trials))

    def finish(
        self, name: str, *, cause: str = "", trials: int = 0, result: Mapping[str, Any] | None = None
    ) -> None:
        """Write how the problem ended. The state `waiting` gives it back to be searched."""
        with self._writing():
            if result is not None:
                self._study.set_user_attr("result", dict(result))
            self._set(State(name, "", time.time(), cause, trials))
        self._owner = ""

    def check(self) -> None:
        """Raise TakenOver: where a write would do so now."""
        if not self._may(self.state):
            self._owner = ""
            raise TakenOver

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._fence.writing(self._study, lambda attrs: self._may(_state(attrs))):
                yield
        except TakenOver:
            self._owner = ""
            raise

    def _may(self, state: State) -> bool:
        return state.owner == self._owner if self._owner else state.free(time.time())

    def _set(self, state: State) -> None:
        self._study.set_user_attr("state", state._asdict())


def study_name(space: Space, provenance: str, kernels: Any, predictor: str) -> str:
    """Return the name of a problem's study, which people can read.

    It changes when old trials no longer count: when the code of a kernel that applies changes, or the device's facts, or
    the model of a prediction.
    """
    problem, device = space.problem, space.device
    digest = hashlib.sha256(
        repr((problem, device, sorted((name, kernels.source_hash(name)) for name in space.fields))).encode()
    )
    place = device.slug
    if provenance != "measured":
        place = f"{device.slug}-{provenance}"
        spec = importlib.util.find_spec(predictor.partition(":")[0])
        digest.update(Path(spec.origin).read_bytes() if spec is not None and spec.origin else b"")
    kind = f"{problem.dtype}-{problem.precision}-{problem.layout}"
    return f"{place}/{problem.op}/{kind}/{sizes(problem)}/{digest.hexdigest()[:8]}"


def sizes(problem: Problem) -> str:
    """Return a problem's sizes as short text: n16-c32-64-in64x128-k3x3-s5x5-p1x1-d2x2."""
    first = 3 - problem.rank

    def spread(values: tuple[int, ...]) -> str:
        return "x".join(map(str, values[first:]))

    text = (
        f"n{problem.n}-c{problem.c_in}-{problem.c_out}-in{spread(problem.extents)}-k{spread(problem.kernel)}"
    )
    for letter, values, usual in (
        ("s", problem.stride, 1),
        ("p", problem.padding, 0),
        ("op", problem.output_padding, 0),
        ("d", problem.dilation, 1),
    ):
        if any(value != usual for value in values[first:]):
            text += f"-{letter}{spread(values)}"
    return text + (f"-g{problem.groups}" if problem.groups > 1 else "") + ("-bias" if problem.bias else "")


def _state(given: Mapping[str, Any]) -> State:
    return State(**{field: given[field] for field in State._fields if field in given})
