"""A sweep: problems in, records out, over one process a GPU."""

import time
from collections.abc import Mapping, Sequence

from tunedb.problem import Problem
from tunedb.tune.announce import closing
from tunedb.tune.coordinator import work_through
from tunedb.tune.journal import sizes
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.state import SweepState
from tunedb.tune.stop import Stop
from tunedb.tune.storage_url import explained
from tunedb.tune.summary import Summary

__all__ = ["sweep"]


def sweep(
    problems: Sequence[Problem],
    settings: Settings,
    *,
    labels: Mapping[Problem, str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Tune every problem, write its record as soon as it is known, and return what the sweep came to.

    By gain, where the settings say how many minutes: then those first that can save most of a forward pass. `labels` are names for people. A sweep that stops early keeps every finished trial; the next one resumes there.
    The second database of the settings is filled from the same finals, so it costs no GPU time.
    Raises StorageError, DatabaseError: where the history or a database cannot be opened.
    """
    settings.check()
    began = time.monotonic()
    named = {problem: (labels or {}).get(problem) or _label(problem) for problem in dict.fromkeys(problems)}
    shown = progress or Progress()
    shown.open(settings)
    stop = Stop.of(settings, began)
    with explained(settings.storage), SweepState(named, settings, shown, stop.reached) as state:
        summary = work_through(state, settings, shown, began, stop)
    for text in closing(summary, settings):
        shown.note(text)
    return summary


def _label(problem: Problem) -> str:
    return f"{problem.op} {problem.dtype}/{problem.precision} {problem.layout} {sizes(problem)}"
