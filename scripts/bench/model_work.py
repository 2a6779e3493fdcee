"""The rows of one model, or with --one-process of several, in a process of their own: what a run of scripts/bench_models.py starts."""

import argparse
import contextlib
import datetime as dt
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.gpu_shards import LOST, answer, said_of
from bench.items import command
from bench.model_rows import Key
from bench.model_tuning import answered_by

__all__ = ["own_command", "promised_us", "today", "work"]


def work(chosen_keys: Sequence[Key], keys: Sequence[Key], models: Sequence[Any], arguments: argparse.Namespace) -> int:  # fmt: skip
    """Measure the rows of one model, or of several in their order, and answer each: the child's side.

    A failure ends it, since it may leave a GPU or a capture in a bad state: the next child goes on behind it. What takes how long
    goes to stderr: most of a short run is spent before anything is measured.
    """
    first, spent = chosen_keys[0], laps()
    answered_by(arguments.db if first.swept else None, arguments.without)
    import torch

    from bench.model_modes import Cpu, Gpu
    from bench.model_pair import Subject

    spent("imports")

    torch.backends.cudnn.benchmark = True
    place = Cpu() if arguments.fake else Gpu()
    model = subject = pair = at = None
    left = list(chosen_keys)
    tiers = contextlib.ExitStack()
    while left:
        key, pair_key = left[0], _pair_of(left[0])
        try:
            # Not in inference mode: its tensors' versions are not counted, which would hide a change of a weight.
            with torch.no_grad():
                if model is None or model.name != key.model:
                    subject = pair = at = None
                    released(place)
                    tiers.close()
                    model = next(one for one in models if one.name == key.model)
                    if arguments.unseen and not key.swept:
                        from bench.unseen import unseen

                        tiers.enter_context(unseen(key.model, arguments.unseen))
                if subject is None:
                    subject = Subject(model, place)
                    spent(f"{model.name} made")
                if at != pair_key:
                    pair = None  # the old one's memory is free before the new one is made
                    pair, at = subject.pair(*pair_key), pair_key
                    spent(f"{' '.join(pair_key)} pair")
                found = pair.measured(key.mode)
                spent(key.mode)
                facts = about(model, key, pair.entries, fake=arguments.fake)
        except Exception as error:  # noqa: BLE001 (whatever a model, a compiler or a GPU raises costs one row)
            # Without a model, or without a pair in this dtype and layout, no row of it can be measured.
            own = [one for one in left if one.model == key.model]
            lost = (
                own if subject is None else [one for one in own if pair is None and _pair_of(one) == pair_key]
            )
            for one in lost or [key]:
                answer(keys.index(one), died=said_of(error))
            tiers.close()
            return LOST
        answer(keys.index(left.pop(0)), row={**facts, **rounded(found)})
    tiers.close()
    return 0


def released(place: Any) -> None:
    """Let go of the model before: its memory, its plans and its packed weights."""
    import gc

    import tunedb

    tunedb.clear()
    gc.collect()
    place.free()


def laps() -> Callable[[str], None]:
    """Return what says on stderr how many seconds have passed since it last did."""
    last = time.monotonic()

    def spent(on: str) -> None:
        nonlocal last
        now = time.monotonic()
        print(f"{on}: {now - last:.1f} s", file=sys.stderr, flush=True)
        last = now

    return spent


def rounded(found: dict[str, Any]) -> dict[str, Any]:
    """Return measured fields with six digits, which is more than was measured."""

    def short(value: Any) -> Any:
        if isinstance(value, tuple):
            return [short(one) for one in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return {name: short(value) for name, value in found.items()}


def _pair_of(key: Key) -> tuple[str, str]:
    return key.dtype, key.layout


def promised_us(entries: Iterable[Any], *, fake: bool) -> float:
    """Return what `tunedb report` expects a model to save."""
    from tunedb.device import by_slug, current
    from tunedb.model.report import report

    return float(report(list(entries), by_slug("h200") if fake else current(0)).totals.saved_us)


def about(model: Any, key: Key, entries: Iterable[Any], *, fake: bool) -> dict[str, Any]:
    """Return the fields of a row that need no measurement."""
    from importlib.metadata import version

    import torch

    from tunedb.measure.versions import environment

    expected = promised_us(entries, fake=fake)
    return {
        **key._asdict(), "kind": model.kind, "decoder": model.decoder, "expected_saved_ms": expected / 1e3,
        "device": "CPU" if fake else torch.cuda.get_device_name(),
        "versions": {**environment(), model.package: version(model.package)}, "date": today(), "command": own_command(),
    }  # fmt: skip


def own_command() -> str:
    """Return the command of the parent, which a child is not asked for."""
    return command(sys.argv).partition(" --work ")[0]


def today() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
