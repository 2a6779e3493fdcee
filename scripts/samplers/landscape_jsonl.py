"""Landscapes from lines that some other run wrote: [id, dtype, layout, kernel, config, microseconds, status, ...]."""

import collections
import itertools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samplers.landscapes import Landscape

__all__ = ["ENUMERATED", "converted", "valid_configs"]

ENUMERATED = 3_000_000  # configs looked at; `valid` costs microseconds


def valid_configs(kernel: Any, problem: Any, device: Any, values: dict[str, Any]) -> list[Any] | None:
    """Return all valid configs of these values, or None where there are too many to look at."""
    if math.prod(len(given) for given in values.values()) > ENUMERATED:
        return None
    every = (kernel.Config(*config) for config in itertools.product(*values.values()))
    return [config for config in every if not kernel.valid(problem, config, device)]


def in_order(seen: set[Any], order: Sequence[Any]) -> tuple[Any, ...]:
    """Return values as the kernel orders them, those that it does not know last."""
    return (*(value for value in order if value in seen), *sorted(seen - set(order)))


def converted(
    paths: Sequence[Path], suite: str, slug: str, date: str, versions: dict[str, str]
) -> list[Landscape]:
    """Return the landscapes of the lines of these files; of a config that stands twice, the last line counts.

    A field's values are those that were seen, in the kernel's order. The lines do not say which code was timed, so
    that no hash is given; how many configs are valid is asked of today's.
    """
    from tunedb.device import by_slug
    from tunedb.kernel import load
    from tunedb.suite import load_suite

    device = by_slug(slug)
    entries = {
        entry.id: entry
        for name in dict.fromkeys([suite, "kernelbench", "models"])
        for entry in load_suite(name)
    }
    seen: dict[tuple[str, ...], dict[str, tuple[float | None, str]]] = collections.defaultdict(dict)
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            *key, config, time_us, status = json.loads(line)[:7]
            seen[tuple(key)][config] = time_us, status
    found = []
    for (name, dtype, layout, kernel_name), configs in seen.items():
        if name not in entries:
            sys.exit(f"an id must be one of the suite's, but got {name!r}: name its --suite.")
        problem = entries[name].problem(dtype, "tf32" if dtype == "float32" else "ieee", layout)
        given = [(json.loads(text), *outcome) for text, outcome in configs.items()]
        fields = list(given[0][0])
        kernel = load(kernel_name)
        today = tuple(kernel.Config._fields) == tuple(
            fields
        )  # else an earlier kernel's, which cannot be asked
        order = kernel.space(problem, device) if today else {}
        values = {
            field: in_order({config[field] for config, *_ in given}, order.get(field, ())) for field in fields
        }
        valid = valid_configs(kernel, problem, device, values) if today else None
        rows = [
            (*config.values(), float(f"{time_us:.5g}") if status == "ok" else status)
            for config, time_us, status in given
        ]
        default = kernel.default(problem, device) if today else None
        recorded = default is not None and tuple(default) in {row[:-1] for row in rows}
        found.append(
            Landscape(
                name, kernel_name, "", problem, slug, versions, date, None,
                None if valid is None else max(len(valid), len(rows)), tuple(default) if recorded else None, values, rows,
            )
        )  # fmt: skip
    return found
