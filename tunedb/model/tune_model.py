"""Capture a model, sweep its layers, report what that gives and switch it over: all in one call."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from tunedb.errors import DatabaseError, ProblemError
from tunedb.model.capture import capture
from tunedb.model.layers import Layers
from tunedb.model.report import Report, report
from tunedb.model.use import Used, use

if TYPE_CHECKING:
    from tunedb.device import Device
    from tunedb.tune.progress import Progress
    from tunedb.tune.summary import Summary

__all__ = ["Tuned", "capture_model", "tune_layers", "tune_model"]

MINUTES = 5.0


class Tuned(NamedTuple):
    """What tuning a model came to."""

    layers: Layers
    summary: "Summary"
    report: Report
    used: Used

    def __str__(self) -> str:
        from tunedb.model.report_table import report_text

        return f"{report_text(self.report)}\n{self.used}"


def tune_model(
    model: nn.Module,
    *inputs: Any,
    minutes: float = MINUTES,
    db: str | Path | None = None,
    gpus: str = "all",
    compiled: bool = False,
    **named_inputs: Any,
) -> Tuned:
    """Search for better kernels for a model for some minutes, and switch the model over to what was found.

    The model is called once with `inputs` and `named_inputs`, under torch.no_grad, in the mode that it is in (call
    `model.eval()` first). Results go to `db`, by default the user's database; the search history lies beside it, so that a
    second call goes on. `gpus` is "all" or CUDA indices, such as "0,1". With `compiled` the layers are tuned as torch.compile will
    run them (Layers.compiled). Needs optuna and sqlite-utils, and starts processes.
    Raises ProblemError: where the model calls no convolution that tunedb can answer, or is not on a CUDA GPU. Raises
    DatabaseError: for a database that calls would not read.
    """
    if not isinstance(model, nn.Module):
        raise ProblemError(f"model must be a torch.nn.Module, but got {type(model).__name__}.")
    if not any(one.is_cuda for one in (*model.parameters(), *model.buffers())):
        raise ProblemError(
            "model must be on a CUDA GPU, but has no parameter there: call model.cuda() first. `tunedb tune --device` predicts for a GPU that is elsewhere."
        )
    layers = capture_model(model, inputs, named_inputs)
    if compiled:
        layers = layers.compiled()
    summary, device = tune_layers(layers, minutes=minutes, db=db, gpus=gpus)
    return Tuned(layers, summary, report(layers.entries, device, compiled=compiled), use(model, layers))


def capture_model(model: nn.Module, inputs: tuple[Any, ...], named_inputs: Mapping[str, Any]) -> Layers:
    """Return what a model asks of convolutions in one call. Raises ProblemError: where that is nothing."""
    with torch.no_grad(), capture() as layers:
        model(*inputs, **named_inputs)
    if not layers.entries:
        raise ProblemError(
            f"a model must call at least one convolution that tunedb can answer, but {type(model).__name__} calls none. {layers}"
        )
    return layers


def tune_layers(
    layers: Layers,
    *,
    minutes: float = MINUTES,
    db: str | Path | None = None,
    device: str | None = None,
    gpus: str = "all",
    progress: "Progress | None" = None,
) -> "tuple[Summary, Device]":
    """Sweep captured layers by what each can still win, write the answers, and return what came of it and for which GPU.

    Without a GPU here, or for a `device` that is elsewhere, times are predicted. Raises DatabaseError: for a database that
    calls would not read, or that cannot be written.
    """
    from tunedb.dispatch import calls
    from tunedb.store.files import user_file, user_files
    from tunedb.tune.selection import history_beside, target
    from tunedb.tune.settings import Settings
    from tunedb.tune.sweep import sweep

    path = user_file() if db is None else Path(db)
    if path.resolve() not in {one.resolve() for one in user_files()}:
        raise DatabaseError(
            f"db must be a database that calls read, {', '.join(map(str, user_files()))}, but got {path}: name it in TUNEDB_PATH."
        )
    goal = target(device, gpus)
    problems = layers.problems
    settings = Settings(
        goal.device, goal.provenance, None, history_beside(path), path, goal.gpus, minutes=minutes,
        calls={problem: entry.calls for problem, entry in problems.items()},
    )  # fmt: skip
    labels = {problem: entry.id for problem, entry in problems.items()}
    summary = sweep(list(labels), settings, labels=labels, progress=progress)
    calls.clear()
    return summary, goal.device
