"""The search history: every trial of every sweep, kept by Optuna, and which process works on which problem.

A history may be older or newer than this code: a field that is missing has its default, and an unknown one is ignored.
"""

import contextlib
import hashlib
import importlib.util
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
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
from tunedb.tune.space import Space

__all__ = ["STALE_S", "History", "Past", "State", "study_name"]

STALE_S = (
    60.0  # after so long without a sign of life from its owner, another process takes over a running problem
)
_SETTLE_S = (
    0.2  # a database URL has no lock here: write a claim, wait, and read whether another one overwrote it
)

_MEASURED = [field for field in Measurement._fields if field != "time_us"]


class State(NamedTuple):
    """The state of a problem: waiting, running, done, failed or timed out."""

    name: str = "waiting"
    owner: str = ""  # host:process id:start time of the process
    since: float = 0.0  # seconds since the epoch: the last sign of life, or the end
    cause: str = ""
    trials: int = 0  # how many were asked for when it last had its answer

    def answers(self, trials: int) -> bool:
        """Whether the problem is done, with at least as many trials as are asked for now."""
        return self.name == "done" and self.trials >= trials

    def free(self, now: float) -> bool:
        """Whether no living process works on it."""
        return self.name != "running" or now - self.since > STALE_S or _is_dead(self.owner)


class History:
    """One storage. Open it once: reading a journal of thousands of trials takes a good part of a second.

    `stopped` tells whether the sweep is to end, which is when a wait for a journal file's lock ends soon.
    """

    def __init__(self, storage: str, stopped: Callable[[], bool] = lambda: False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._claims = (
            None if "://" in storage else FileLock(Path(f"{Path(storage).resolve()}.claims"), stopped)
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", TunedbWarning)
                self._storage = (
                    open_journal(storage, stopped) if self._claims else optuna.storages.RDBStorage(storage)
                )
            self._ids = {study.study_name: study._study_id for study in self._storage.get_all_studies()}  # noqa: SLF001
        except StorageError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise StorageError(
                f"the search history must be a journal file of Optuna or a database URL it can open, but {storage!r} gave {text}: name another with --storage."
            ) from error

    def past(self, name: str, facts: Mapping[str, Any]) -> "Past":
        """Return a problem's study. A new one gets `facts` as attributes."""
        new = name not in self._ids
        study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(),
            load_if_exists=True,
        )
        if new:
            self._ids[name] = study._study_id  # noqa: SLF001
            for key, value in facts.items():
                study.set_user_attr(key, value)
        return Past(study, self._claims)

    def results(self, device: str, provenance: str) -> Iterator[dict[str, Any]]:
        """Yield the final results of all problems that are done for a device, also those of kernels that have changed."""
        for study in self._storage.get_all_studies():
            attrs = study.user_attrs
            if "result" in attrs and (attrs.get("device"), attrs.get("provenance")) == (device, provenance):
                yield attrs["result"]


class Past:
    """One problem's study: its trials, its state and its result. Each trial is written in one step."""

    def __init__(self, study: optuna.Study, claims: FileLock | None) -> None:
        self._study = study
        self._claims = claims

    @property
    def state(self) -> State:
        return _state(self._study.user_attrs)

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

    def append(self, tried: Tried, space: Space) -> None:
        """Write a finished trial. Parameters are written as values and failures with their cause, for optuna-dashboard."""
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
        self._study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if fine else TrialState.FAIL,
                value=measurement.time_us if fine else None,
                params=params,
                distributions=distributions,
                user_attrs=attrs,
            )
        )

    def claim(self, owner: str, trials: int) -> bool:
        """Take the problem, unless a living process works on it or it is done. Exactly one of several claimants gets it."""
        with self._alone():
            state = self.state
            if state.answers(trials) or not state.free(time.time()):
                return False
            self.heartbeat(owner, state.trials)
        if self._claims is None:
            time.sleep(_SETTLE_S)
        return self.state.owner == owner

    def heartbeat(self, owner: str, trials: int = 0) -> None:
        """Write that the owner is alive and works on a problem that has an answer of so many trials."""
        self._set(State("running", owner, time.time(), trials=trials))

    def finish(
        self, name: str, *, cause: str = "", trials: int = 0, result: Mapping[str, Any] | None = None
    ) -> None:
        """Write how the problem ended. The state `waiting` gives it back to be searched."""
        if result is not None:
            self._study.set_user_attr("result", dict(result))
        self._set(State(name, "", time.time(), cause, trials))

    def _set(self, state: State) -> None:
        self._study.set_user_attr("state", state._asdict())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if self._claims is not None:
            self._claims.acquire()
        try:
            yield
        finally:
            if self._claims is not None:
                self._claims.release()


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


def owner() -> str:
    """Return a name for this process that no other process with the same storage has."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _is_dead(name: str) -> bool:
    """Return whether an owner on this host has ended. Of an owner on another host this is unknown, so it is False."""
    host, _, rest = name.partition(":")
    pid, _, started = rest.partition(":")
    return host == socket.gethostname() and pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot: it tells a process from a later one with the same id."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # a zombie or dead process does no work


def _state(attrs: Mapping[str, Any]) -> State:
    given = attrs.get("state", {})
    return State(**{field: given[field] for field in State._fields if field in given})
