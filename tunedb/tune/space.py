"""Everything that is worth trying for a problem: the spaces of all kernels that apply, as one."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunedb.device import Device
from tunedb.device.assembler import overwrites
from tunedb.errors import ConfigError
from tunedb.kernel import Kernel, config_from_json, config_to_json
from tunedb.problem import Problem
from tunedb.record import Choice
from tunedb.tune.predict import formula

__all__ = ["Space", "Value", "is_ordered", "searched"]

Value = int | str

# A space of more configs is not enumerated; `valid` costs microseconds a config.
_ENUMERATED = 20_000
_DRAWS = 400  # random configs tried before a space counts as used up
_STEPS = 30  # random neighbours tried before a step from a config is given up


class Space:
    """The union of the kernels' spaces for one problem; a kernel that does not apply has no part in it.

    `fixed` are fields, by kernel, that are held to one value.
    """

    def __init__(
        self,
        problem: Problem,
        device: Device,
        kernels: Mapping[str, Kernel],
        fixed: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> None:
        self._fixed: Mapping[str, Mapping[str, Value]] = fixed or {}
        self.problem = problem
        self.device = device
        self.kernels: dict[str, Kernel] = {}
        self.fields: dict[str, dict[str, tuple[Value, ...]]] = {}
        for name, kernel in kernels.items():
            if problem.op not in kernel.OPS:
                continue
            fields = kernel.space(problem, device)
            if fields and all(fields.values()):
                self.kernels[name] = kernel
                only = {field: (value,) for field, value in self._fixed.get(name, {}).items()}
                self.fields[name] = {
                    field: only.get(field) or tuple(fields[field]) for field in kernel.Config._fields
                }

    @property
    def size(self) -> int:
        """Number of configs, valid or not."""
        return sum(math.prod(len(choices) for choices in fields.values()) for fields in self.fields.values())

    def choice(self, name: str, values: Mapping[str, Value]) -> Choice | None:
        """Return the choice of those values if it is valid, has the fixed fields, and its code is not known to be wrong."""
        kernel = self.kernels[name]
        if any(values[field] != value for field, value in self._fixed.get(name, {}).items()):
            return None
        config = kernel.Config(**values)
        if kernel.valid(self.problem, config, self.device) or overwrites(
            name, config, self.device.capability
        ):
            return None
        return Choice(name, config_to_json(config))

    def values(self, choice: Choice) -> dict[str, Value]:
        """Return the values of a choice's fields. Raises ConfigError: where it is not the kernel's config."""
        if choice.kernel not in self.kernels:
            raise ConfigError(f"kernel must be one of {', '.join(self.kernels)}, but got {choice.kernel!r}.")
        values: dict[str, Value] = config_from_json(self.kernels[choice.kernel], choice.config)._asdict()
        return values

    def admits(self, choice: Choice) -> Choice | None:
        """Return a choice that came from elsewhere, such as a neighbour's winner, if it is valid here."""
        try:
            return self.choice(choice.kernel, self.values(choice))
        except ConfigError:
            return None

    def defaults(self) -> list[Choice]:
        """Return each kernel's own default and then its seeds, where they are valid."""
        given = [(name, kernel.default(self.problem, self.device)) for name, kernel in self.kernels.items()]
        for name, kernel in self.kernels.items():
            seeds = getattr(kernel, "seeds", None)
            given += [(name, config) for config in seeds(self.problem, self.device)] if seeds else []
        found = (self.choice(name, config._asdict()) for name, config in given if config is not None)
        return list(dict.fromkeys(choice for choice in found if choice is not None))

    def at_most(self, limit: int) -> list[Choice] | None:
        """Return all valid choices if there are no more than `limit`, else None.

        A space too large to enumerate counts as larger than any limit.
        """
        if self.size > _ENUMERATED:
            return None
        found = list(itertools.islice(self._every(), limit + 1))
        return found if len(found) <= limit else None

    def draw(
        self, rng: random.Random, known: Mapping[Choice, Any] | set[Choice], **fixed: Value
    ) -> Choice | None:
        """Return a random valid choice that is not known, or None where none is found.

        `fixed` pins fields; only kernels that have all of them are drawn from.
        """
        able = [name for name, fields in self.fields.items() if all(field in fields for field in fixed)]
        for _ in range(_DRAWS if able else 0):
            name = rng.choice(able)
            values = {field: rng.choice(choices) for field, choices in self.fields[name].items()}
            choice = self.choice(name, {**values, **fixed})
            if choice is not None and choice not in known:
                return choice
        if self.size <= _ENUMERATED and not fixed:
            return next((choice for choice in self._every() if choice not in known), None)
        return None

    def step(self, rng: random.Random, start: Choice, known: Mapping[Choice, Any]) -> Choice | None:
        """Return a random valid choice that is not known and differs from `start` in one field or two.

        Of three or more integers the next smaller or larger is taken.
        """
        if start.kernel not in self.fields:
            return None
        fields = {field: choices for field, choices in self.fields[start.kernel].items() if len(choices) > 1}
        for _ in range(_STEPS if fields else 0):
            values = self.values(start)
            for field in rng.sample(list(fields), min(len(fields), rng.choice((1, 1, 2)))):
                values[field] = rng.choice(_next_to(values[field], fields[field]))
            choice = self.choice(start.kernel, values)
            if choice is not None and choice not in known:
                return choice
        return None

    def covering(self, rng: random.Random, start: Sequence[Choice], limit: int) -> list[Choice]:
        """Return valid choices that, with those of `start`, try each value of each field at least once.

        Greedy over random choices; then each value that they missed is drawn for; at most `limit`.
        """
        missing = {
            (name, field, value)
            for name, fields in self.fields.items()
            for field, choices in fields.items()
            for value in choices
            if len(choices) > 1
        }
        for choice in start:
            missing -= self._parts(choice)
        drawn = sorted(
            {choice for choice in (self.draw(rng, set()) for _ in range(100)) if choice is not None}
        )
        found: list[Choice] = []
        parts = {choice: self._parts(choice) for choice in drawn}
        while missing and len(found) < limit and parts:
            best = max(parts, key=lambda choice: len(parts[choice] & missing))
            gained = parts.pop(best) & missing
            if not gained:
                break
            missing -= gained
            found.append(best)
        for name, field, value in sorted(missing, key=str):
            if len(found) >= limit:
                break
            if (name, field, value) in missing:
                pinned = self._only(name).draw(rng, {*start, *found}, **{field: value})
                if pinned is not None:
                    found.append(pinned)
                    missing -= self._parts(pinned)
        return found

    def _only(self, name: str) -> "Space":
        return Space(self.problem, self.device, {name: self.kernels[name]}, self._fixed)

    def _parts(self, choice: Choice) -> set[tuple[str, str, Value]]:
        return {(choice.kernel, field, value) for field, value in self.values(choice).items()}

    def _every(self) -> Iterator[Choice]:
        for name, fields in self.fields.items():
            for combination in itertools.product(*fields.values()):
                choice = self.choice(name, dict(zip(fields, combination, strict=True)))
                if choice is not None:
                    yield choice


def is_ordered(choices: Sequence[Value]) -> bool:
    """Return whether the order of a field's values means something: three or more integers."""
    return len(choices) > 2 and all(isinstance(value, int) for value in choices)


def _next_to(value: Value, choices: Sequence[Value]) -> Sequence[Value]:
    if is_ordered(choices) and value in choices:
        position = choices.index(value)
        return [choices[at] for at in (position - 1, position + 1) if 0 <= at < len(choices)]
    return [other for other in choices if other != value]


def searched(problem: Problem, device: Device, kernels: Any, *, measured: bool) -> Space:
    """Return what a search goes through: without a GPU only the kernels and values that the time model can rank.

    On a GPU that runs an older generation's code, a kernel that calls torch has no part: it would run the GPU's own code.
    """
    found = {name: kernels.load(name) for name in kernels.names()}
    if measured:
        return Space(
            problem,
            device,
            {name: kernel for name, kernel in found.items() if formula.runs_as(kernel, device)},
        )
    ranked = {name: kernel for name, kernel in found.items() if formula.ranks(kernel, device)}
    return Space(
        problem, device, ranked, {name: formula.fixed_fields(kernel) for name, kernel in ranked.items()}
    )
