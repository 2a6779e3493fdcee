"""Which config to take for a problem that nobody has swept, and what it should give."""

from collections.abc import Iterable, Iterator
from math import log2
from typing import Any, NamedTuple

from tunedb.device import Device
from tunedb.device.assembler import overwrites
from tunedb.dispatch.unseen.features import (
    CONFIG,
    KERNELS,
    PROBLEM,
    config_features,
    problem_features,
    scale_log,
)
from tunedb.dispatch.unseen.trees import Predictor
from tunedb.errors import ConfigError, KernelError
from tunedb.kernel import config_from_json, config_to_json, load, names
from tunedb.problem import Problem
from tunedb.record import Choice

__all__ = ["COLUMNS", "Guess", "candidates", "choose", "judged"]

COLUMNS = {"torch": len(PROBLEM), "config": len(PROBLEM) + len(CONFIG)}


class Guess(NamedTuple):
    """A config with what it and torch are expected to take, in microseconds."""

    kernel: str
    config: Any
    own_us: float
    torch_us: float

    @property
    def gain(self) -> float:
        """Return log2 of torch's time over the config's."""
        return log2(self.torch_us / self.own_us)


def candidates(problem: Problem, device: Device, kin: Iterable[Choice]) -> Iterator[tuple[str, Any]]:
    """Yield what is worth judging, valid here and not known to become wrong code: each kernel's default and seeds, and what won similar problems."""
    seen = set()
    for name, config in _given(problem, device, kin):
        key = (name, config)
        if key not in seen:
            seen.add(key)
            if not load(name).valid(problem, config, device) and not overwrites(
                name, config, device.capability
            ):
                yield key


def _given(problem: Problem, device: Device, kin: Iterable[Choice]) -> Iterator[tuple[str, Any]]:
    for name in names():
        if name not in KERNELS:
            continue  # of another distribution, or torch's own: no trial has taught anything of it
        kernel: Any = load(name)
        if problem.op in kernel.OPS and kernel.space(problem, device):
            first = kernel.default(problem, device)
            if first is not None:
                yield name, first
            if hasattr(kernel, "seeds"):
                yield from ((name, config) for config in kernel.seeds(problem, device))
    for choice in kin:
        if choice.kernel in KERNELS and problem.op in load(choice.kernel).OPS:
            try:
                yield choice.kernel, config_from_json(load(choice.kernel), choice.config)
            except (ConfigError, KernelError):
                continue


def judged(
    predictor: Predictor, problem: Problem, device: Device, given: Iterable[tuple[str, Any]]
) -> Iterator[Guess]:
    """Yield what the predictor expects of each config."""
    scale, about = scale_log(problem, device), problem_features(problem, device)
    torch_us = 2 ** (predictor.forests["torch"].value(about) + scale)
    found = list(given)
    features = [config_features(problem, device, *one) for one in found]
    for one, own in zip(found, predictor.forests["config"].values(about, features), strict=True):
        yield Guess(*one, 2 ** (own + scale), torch_us)


def choose(
    predictor: Predictor, problem: Problem, device: Device, kin: Iterable[Choice] = ()
) -> Guess | None:
    """Return the config with the shortest expected time; None where no kernel applies."""
    found = judged(predictor, problem, device, candidates(problem, device, kin))
    return min(
        found, key=lambda guess: (guess.own_us, guess.kernel, config_to_json(guess.config)), default=None
    )
