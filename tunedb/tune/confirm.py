"""A confirmation: the stored candidates of each problem and torch, verified and timed again on the GPU that is here."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tunedb.describe import counted, describe, versions
from tunedb.errors import DatabaseError, DeviceError
from tunedb.problem import Problem
from tunedb.store import files
from tunedb.store.failures import is_file
from tunedb.store.read import Database
from tunedb.tune.announce import closing
from tunedb.tune.confirm_state import ConfirmState
from tunedb.tune.confirmed import Confirmed
from tunedb.tune.contribution import add_text, contribution, text_beside
from tunedb.tune.coordinator import work_through
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.stored import Stored, at_stake_us, gains_elsewhere, stored
from tunedb.tune.workers import resolve

__all__ = ["CANDIDATES", "confirm"]

CANDIDATES = 5  # of a problem: a measured sweep stores four, a predicted one five


def confirm(
    settings: Settings,
    *,
    db: Path | None = None,
    problems: Iterable[Problem] | None = None,
    candidates: int = CANDIDATES,
    labels: Mapping[Problem, str] | None = None,
    progress: Progress | None = None,
) -> Confirmed:
    """Time the stored candidates of each problem and torch again, and write what wins as measured records.

    `settings.db` is the database that is written, `db` the one whose problems are confirmed: by default all that answer on the
    device, the user's and the shipped one. `problems` are the only ones to confirm; `settings.calls` tell how often a forward
    pass makes each. What may save most comes first, and `settings.minutes` end it. Each record is written as soon as it is known;
    a second run leaves out what was measured under the same versions of Triton, torch, cuDNN and driver. A problem that fails
    keeps the record that it had. The text for the shipped file's makers lies beside the database.
    Raises DeviceError: where the device is not here. DatabaseError: where a file cannot be read or written, where the one to write
    is a shipped one, or where none has a record of the device.
    """
    began = time.monotonic()
    _check(settings)
    shown = progress or Progress()
    shown.open(settings)
    slug = settings.device.slug
    sources = files.opened(slug) if db is None else [Database(db)]
    now: dict[str, str] = resolve(settings.parts.environment)()
    wanted = None if problems is None else list(dict.fromkeys(problems))
    own = Database(settings.db) if is_file(settings.db) else None
    source_hash = resolve(settings.parts.kernels).source_hash
    found = stored(
        slug, sources, own, wanted=wanted, candidates=candidates, versions=now, source_hash=source_hash
    )
    if not found:
        raise _nothing(settings, db, sources)
    todo = _in_order([one for one in found if not one.confirmed], settings)
    named = {one.problem: (labels or {}).get(one.problem) or describe(one.problem) for one in found}
    shown.note(f"versions: {versions(**now)}; {counted(candidates, 'candidate')} of each problem")
    shown.begin(len(found), len(found) - len(todo), candidates)
    state = ConfirmState(todo, named, settings, shown)
    try:
        summary = work_through(state, settings, shown, began)
    finally:
        state.close()
    unknown = 0 if wanted is None else len(wanted) - len(found)
    result = Confirmed(summary, state.outcomes, len(found) - len(todo), unknown, now, None)
    result = _with_text(result, settings, shown)
    for text in [*result.lines(), *closing(summary, settings)]:
        shown.note(text)
    if result.text is not None:
        shown.note(f"To improve the file that comes with tunedb, send {result.text} and {settings.db}.")
    return result


def _check(settings: Settings) -> None:
    slug = settings.device.slug
    if settings.provenance != "measured":
        raise DeviceError(
            f"times must be confirmed on the GPU itself, but {slug} is not here: run this on a machine that has one."
        )
    if settings.db.resolve() in {path.resolve() for path in files.shipped_files().values()}:
        raise DatabaseError(
            f"the database to write must be your own, but {settings.db} came with tunedb: leave it out of TUNEDB_PATH."
        )


def _nothing(settings: Settings, db: Path | None, sources: Sequence[Database]) -> DatabaseError:
    slug = settings.device.slug
    if any(one.device == slug for file in sources for one in file.records()):
        return DatabaseError(
            f"a suite must have problems with a record of {slug}, but none of these has one: run `tunedb sweep --suite` first."
        )
    held = ", ".join(sorted({one.device for file in sources for one in file.records()})) or "nothing"
    where = "the databases in use have" if db is None else f"{db} has"
    return DatabaseError(
        f"what is confirmed must have records of {slug}, but {where} those of {held}: name another --db, or run `tunedb sweep` first."
    )


def _in_order(todo: Sequence[Stored], settings: Settings) -> list[Stored]:
    """Return what may save most of a forward pass first."""
    calls = settings.calls or {}
    predicted = any(one.record.aten_us is None for one in todo)
    elsewhere = gains_elsewhere(files.opened_elsewhere(settings.device.slug)) if predicted else {}
    return sorted(todo, key=lambda one: at_stake_us(one, calls.get(one.problem, 1), elsewhere), reverse=True)


def _with_text(result: Confirmed, settings: Settings, shown: Progress) -> Confirmed:
    """Write the text where there is something to tell. That it cannot be written costs no record."""
    if not result.outcomes:
        return result
    path = text_beside(settings.db, settings.device)
    try:
        add_text(path, contribution(result, settings.device))
    except OSError as error:
        shown.note(f"The text to send could not be written to {path}: {error.strerror}.")
        return result
    return result._replace(text=path)
