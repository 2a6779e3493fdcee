"""What a person sees of a sweep while it runs."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TextIO

from tunedb.describe import micros
from tunedb.problem import Problem
from tunedb.record import Record, Tried

__all__ = ["LiveProgress", "PlainProgress", "Progress", "Summary", "progress_for"]


class Summary(NamedTuple):
    """What a sweep came to."""

    records: Mapping[Problem, Record]  # written by this run or found in the history
    states: Mapping[Problem, str]  # of every problem: done, failed, timed out, running (elsewhere) or waiting
    causes: Mapping[Problem, str]  # of those that failed or timed out
    bugs: Mapping[Problem, str]  # tracebacks of those that failed because code is wrong, not because a GPU is
    labels: Mapping[Problem, str]
    trials: int  # of this run, not of earlier ones
    failures: Counter[str]  # status: trials of this run that came to it
    seconds: float
    gpus: int
    ended: str  # "", or why it stopped early: "interrupted", "time limit"

    @property
    def complete(self) -> bool:
        """Whether every problem has its answer."""
        return all(state == "done" for state in self.states.values())

    @property
    def trials_per_second(self) -> float:
        """Trials a second a GPU, compilation and verification included."""
        return self.trials / max(self.seconds, 1e-9) / max(self.gpus, 1)

    def line(self) -> str:
        """Return the counts in one line."""
        states = Counter(self.states.values())
        counts = ", ".join(
            f"{states[name]} {name}"
            for name in ("done", "failed", "timed out", "running", "waiting")
            if states[name]
        )
        failed = ", ".join(f"{count} {status}" for status, count in self.failures.most_common())
        text = (
            f"{len(self.states)} problems: {counts or 'none'}; {self.trials} trials in {self.seconds:.0f} s"
        )
        text += (
            f", {self.trials_per_second:.1f} a second a GPU"
            if self.gpus
            else f", {self.trials / max(self.seconds, 1e-9):.1f} a second"
        )
        text += f"; failed trials: {failed or 'none'}"
        return text + (f"; stopped: {self.ended}" if self.ended else "")


class _Job(NamedTuple):
    label: str
    trials: int  # asked for
    ended: int
    best_us: float | None
    aten_us: float | None


class Progress:
    """Counts what a sweep tells it and shows nothing; a subclass shows it. Slots are drivers, 0 and up."""

    def begin(self, total: int, done: int, trials: int) -> None:
        """Note how many problems there are, how many have an answer already, and the trials of each."""
        self.total, self.done, self.trials = total, done, trials
        self.failures: Counter[str] = Counter()
        self.unanswered = 0  # failed or timed out
        self.ended = 0
        self.started_at = time.monotonic()
        self.done_before = done
        self.jobs: dict[int, _Job] = {}

    def started(self, slot: int, label: str, ended: int) -> None:
        self.jobs[slot] = _Job(label, self.trials, ended, None, None)

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

    def finished(self, slot: int | None, label: str, record: Record) -> None:  # noqa: ARG002 (for subclasses)
        """Note an answer; `slot` is None where it comes from the history."""
        self.done += 1
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

    def rate(self) -> float:
        """Return trials a second, of all GPUs."""
        return self.ended / max(time.monotonic() - self.started_at, 1e-9)

    def head(self) -> str:
        """Return the state of the whole sweep in one line."""
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

    def begin(self, total: int, done: int, trials: int) -> None:
        super().begin(total, done, trials)
        self.note(f"{total} problems, {done} of them done, {trials} trials each")

    def finished(self, slot: int | None, label: str, record: Record) -> None:
        super().finished(slot, label, record)
        aten = "" if record.aten_us is None else f", aten {micros(record.aten_us)}"
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
        rows = _table(summary)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.note("  ".join(cells).rstrip())
        for text in _endings(summary):
            self.note(text)


class LiveProgress(Progress):
    """A display that is redrawn in place: the whole sweep, and what each GPU is at."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None

    def begin(self, total: int, done: int, trials: int) -> None:
        from rich.live import Live

        super().begin(total, done, trials)
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )
        self._live.start()

    def finished(self, slot: int | None, label: str, record: Record) -> None:
        super().finished(slot, label, record)
        aten = "" if record.aten_us is None else f", aten {micros(record.aten_us)}"
        self.note(f"{label}: {record.kernel} {micros(record.time_us)}{aten}, floor {micros(record.floor_us)}")

    def failed(self, slot: int | None, label: str, state: str, cause: str) -> None:
        super().failed(slot, label, state, cause)
        self.note(f"{label}: {state}: {cause}")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def end(self, summary: Summary) -> None:
        from rich.table import Table

        self._live.stop()
        head, *rows = _table(summary)
        table = Table(*head, box=None)
        for column in table.columns[2:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
        for text in _endings(summary):
            self.note(text)

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), show_header=bool(self.jobs))
        for name in ("GPU", "problem", "", "trials", "best", "aten"):
            table.add_column(name, justify="left" if name in ("problem", "") else "right", no_wrap=True)
        for slot, job in sorted(dict(self.jobs).items()):
            bar = ProgressBar(total=job.trials, completed=min(job.ended, job.trials), width=20)
            table.add_row(
                str(slot),
                Text(job.label),
                bar,
                f"{job.ended}/{job.trials}",
                micros(job.best_us),
                micros(job.aten_us),
            )
        return Group(
            ProgressBar(total=max(self.total, 1), completed=self.done + self.unanswered, width=60),
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


def _table(summary: Summary) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("problem", "kernel", "time", "aten", "floor", "speed-up")]
    for problem, record in summary.records.items():
        gain = "-" if record.aten_us is None else f"{record.aten_us / record.time_us:.2f}x"
        times = (micros(record.time_us), micros(record.aten_us), micros(record.floor_us))
        rows.append((summary.labels[problem], record.kernel, *times, gain))
    return rows


def _endings(summary: Summary) -> list[str]:
    """Return what stands under the table: every failure with its cause, and the counts last."""
    lines = [
        f"{summary.labels[problem]}: {summary.states[problem]}: {cause}"
        for problem, cause in summary.causes.items()
    ]
    for problem, text in summary.bugs.items():
        lines.append(f"A programming error failed {summary.labels[problem]}:\n{text.rstrip()}")
    return [*lines, summary.line()]
