"""What a person sees of a sweep while it runs."""

import sys
import time
from collections import Counter
from typing import Any, NamedTuple, TextIO

from tunedb.describe import micros
from tunedb.record import Record, Tried
from tunedb.tune.announce import count_line, opening
from tunedb.tune.schedule import Standing
from tunedb.tune.settings import Settings
from tunedb.tune.summary import Summary, endings, table_of

__all__ = ["LiveProgress", "PlainProgress", "Progress", "progress_for"]


class _Job(NamedTuple):
    label: str
    trials: int  # asked for
    ended: int
    best_us: float | None
    aten_us: float | None
    open_us: float | None  # of a forward pass, where the sweep goes by gain


class Progress:
    """Counts what a sweep tells it and shows nothing; a subclass shows it. Slots are drivers, 0 and up."""

    gpus: (
        tuple[int, ...] | None
    ) = ()  # CUDA index of each slot, as far as it is known; None where times are predicted

    def open(self, settings: Settings) -> None:
        """Say for which GPU the sweep is, whether its times are measured, and which files it writes."""
        self.gpus = settings.gpus if settings.provenance == "measured" else None
        for text in opening(settings):
            self.note(text)

    def begin(self, total: int, done: int, trials: int | None) -> None:
        """Note how many problems there are, how many have an answer already, and the trials of each; None by gain."""
        self.total, self.done, self.trials = total, done, trials or 0
        self.failures: Counter[str] = Counter()
        self.unanswered = 0  # failed or timed out
        self.ended = 0
        self.started_at = time.monotonic()
        self.done_before = done
        self.jobs: dict[int, _Job] = {}
        self.standing: Standing | None = None

    def stand(self, standing: Standing | None) -> None:
        """Note where a sweep by gain stands; None for a sweep of another kind."""
        self.standing = standing

    def started(
        self, slot: int, label: str, ended: int, trials: int | None = None, open_us: float | None = None
    ) -> None:
        """Note what a driver begins: with how many `trials` in all, and what can be won in a forward pass, by gain."""
        self.jobs[slot] = _Job(label, self.trials if trials is None else trials, ended, None, None, open_us)

    def looked(self, slot: int, label: str, aten_us: float | None) -> None:  # noqa: ARG002 (for subclasses)
        """Note that torch has been timed and nothing else was asked for."""
        self.jobs.pop(slot, None)

    def baseline(self, slot: int, aten_us: float | None) -> None:
        if slot in self.jobs:
            self.jobs[slot] = self.jobs[slot]._replace(aten_us=aten_us)

    def trial(self, slot: int, label: str, tried: Tried) -> None:
        """Note a finished trial, which may belong to the problem after the one shown."""
        measurement = tried.measurement
        self.ended += 1
        if measurement.status != "ok":
            self.failures[measurement.status] += 1
        job = self.jobs.get(slot)
        if job is not None and job.label == label:
            times = [
                us
                for us in (job.best_us, measurement.time_us if measurement.status == "ok" else None)
                if us is not None
            ]
            self.jobs[slot] = job._replace(ended=job.ended + 1, best_us=min(times, default=None))

    def finished(self, slot: int | None, label: str, record: Record, done: bool = True) -> None:  # noqa: ARG002 (for subclasses)
        """Note an answer; `slot` is None where it comes from the history. By gain it may be followed by better ones."""
        self.done += done
        if slot is not None:
            self.jobs.pop(slot, None)

    def failed(self, slot: int | None, label: str, state: str, cause: str) -> None:  # noqa: ARG002 (for subclasses)
        self.unanswered += 1
        if slot is not None:
            self.jobs.pop(slot, None)

    def note(self, text: str) -> None:
        """Say something that happens rarely."""

    def end(self, summary: Summary) -> None:
        """Show what the sweep came to."""

    def left_s(self) -> float | None:
        """Return the seconds until all problems have an answer, as far as it can be guessed."""
        ended = self.done + self.unanswered - self.done_before
        part = sum(min(1.0, job.ended / max(job.trials, 1)) for job in self.jobs.values())
        if ended + part < 1:
            return None
        left = self.total - self.done - self.unanswered - part
        return max(0.0, left) * (time.monotonic() - self.started_at) / (ended + part)

    def part(self) -> tuple[float, float]:
        """Return how much is done and how much there is: problems, or by gain the time above the floor that was open."""
        if self.standing is None:
            return self.done + self.unanswered, max(self.total, 1)
        saved = self.standing.before_us - self.standing.after_us
        return saved, max(saved + self.standing.open_us, 1e-9)

    def rate(self) -> float:
        """Return trials a second, of all GPUs."""
        return self.ended / max(time.monotonic() - self.started_at, 1e-9)

    def head(self) -> str:
        """Return the state of the whole sweep in one line."""
        if self.standing is not None:
            return gains(self.standing, self.rate())
        left = self.left_s()
        text = f"{self.done} of {self.total} done, {self.unanswered} failed, {self.rate():.1f} trials/s"
        text += f", {clock(left)} left" if left is not None else ""
        if self.failures:
            text += "; failed trials: " + ", ".join(
                f"{count} {status}" for status, count in self.failures.most_common()
            )
        return text


class PlainProgress(Progress):
    """One line for each problem: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, total: int, done: int, trials: int | None) -> None:
        super().begin(total, done, trials)
        self.note(count_line(total, done, trials))

    def finished(self, slot: int | None, label: str, record: Record, done: bool = True) -> None:
        super().finished(slot, label, record, done)
        aten = _of_torch(record)
        origin = "" if slot is not None else " (from the history)"
        self.note(
            f"[{self.head()}] {label}: {record.kernel} {micros(record.time_us)}{aten}, floor {micros(record.floor_us)}{origin}"
        )

    def failed(self, slot: int | None, label: str, state: str, cause: str) -> None:
        super().failed(slot, label, state, cause)
        self.note(f"[{self.head()}] {label}: {state}: {cause}")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def end(self, summary: Summary) -> None:
        rows = table_of(summary)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.note("  ".join(cells).rstrip())
        for text in endings(summary):
            self.note(text)


class LiveProgress(Progress):
    """A display that is redrawn in place: the whole sweep, and what each GPU is at."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None

    def begin(self, total: int, done: int, trials: int | None) -> None:
        from rich.live import Live

        super().begin(total, done, trials)
        self.note(count_line(total, done, trials))
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )
        self._live.start()

    def finished(self, slot: int | None, label: str, record: Record, done: bool = True) -> None:
        super().finished(slot, label, record, done)
        aten = _of_torch(record)
        self.note(f"{label}: {record.kernel} {micros(record.time_us)}{aten}, floor {micros(record.floor_us)}")

    def failed(self, slot: int | None, label: str, state: str, cause: str) -> None:
        super().failed(slot, label, state, cause)
        self.note(f"{label}: {state}: {cause}")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def end(self, summary: Summary) -> None:
        from rich.table import Table

        self._live.stop()
        head, *rows = table_of(summary)
        table = Table(*head, box=None)
        for column in table.columns[2:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
        for text in endings(summary):
            self.note(text)

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), show_header=bool(self.jobs))
        heads: tuple[str, ...] = ("problem", "", "trials", "best", "to win")
        if self.gpus is not None:
            heads = ("GPU", "problem", "", "trials", "best", "aten", "to win")
        for name in heads:
            table.add_column(name, justify="left" if name in ("problem", "") else "right", no_wrap=True)
        for slot, job in sorted(dict(self.jobs).items()):
            bar = ProgressBar(total=job.trials, completed=min(job.ended, job.trials), width=20)
            cells: list[Any] = [Text(job.label), bar, f"{job.ended}/{job.trials}", micros(job.best_us)]
            if self.gpus is not None:
                gpu = self.gpus[slot] if slot < len(self.gpus) else slot
                cells = [str(gpu), *cells, micros(job.aten_us)]
            table.add_row(*cells, micros(job.open_us))
        ended, total = self.part()
        return Group(
            ProgressBar(total=total, completed=ended, width=60),
            Text(self.head()),
            table,
        )


def progress_for(stream: TextIO | None = None) -> Progress:
    """Return a live display where the stream is a terminal, and plain lines elsewhere."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return PlainProgress(stream)
    from rich.console import Console

    return LiveProgress(Console(file=stream))


def clock(seconds: float) -> str:
    """Return seconds as 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def gains(standing: Standing, rate: float) -> str:
    """Return where a sweep by gain stands, in one line."""
    known = f"{standing.known} of {standing.layers} layers known"
    saved = micros(standing.before_us - standing.after_us) if standing.known else "-"
    return f"{known}, {saved} of {micros(standing.before_us or None)} saved a forward pass, {micros(standing.open_us)} open, {rate:.1f} trials/s"


def _of_torch(record: Record) -> str:
    """Return torch's time for a line about a record, and whether it was measured."""
    if record.aten_us is None:
        return ""
    return f", {'aten' if record.provenance == 'measured' else 'torch expected'} {micros(record.aten_us)}"
