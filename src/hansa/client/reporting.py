"""What a person sees of a running client."""

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from hansa.client.events import (
    Downloaded,
    Dropped,
    Event,
    Leased,
    Moving,
    Reconnecting,
    Reported,
    Stopped,
    Trained,
    Uploaded,
    Waiting,
)
from hansa.client.plaintext import clean
from hansa.protocol.tasks import Task, TaskKind

if TYPE_CHECKING:
    from rich.console import Console

METRICS_SHOWN = 4


class Reporter(Protocol):
    """Called with every event, in the client's thread: it should be quick. Any function of one argument will do."""

    def __call__(self, event: Event, /) -> None:
        """Show, count or forward the event."""
        ...


def default_reporter() -> Reporter:
    """Live on a terminal, plain lines elsewhere, and in threads, of which several may write at once."""
    live = sys.stdout.isatty() and threading.current_thread() is threading.main_thread()
    return RichReporter() if live else LineReporter()


class LineReporter:
    """One line for each thing that has happened; an outage is told once, however often it is tried again."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._last = ""

    def __call__(self, event: Event) -> None:
        """Print the event's line, unless it is the one just printed."""
        line = described(event)
        if line and line != self._last:
            self._last = line
            self._stream.write(f"{line}\n")
            self._stream.flush()


class RichReporter:
    """A line for each task's result, and below them what is going on now."""

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.status import Status

        self._console = console or Console(highlight=False)
        self._status = Status("", console=self._console)

    def __call__(self, event: Event) -> None:
        """Print what stays, show what passes."""
        from rich.text import Text

        match event:
            case Trained() | Dropped() | Stopped():
                self._console.print(Text(described(event)), soft_wrap=True)
        if isinstance(event, Stopped):
            self._status.stop()
        elif doing := _doing(event):
            self._status.update(Text(doing))
            self._status.start()


def described(event: Event) -> str:
    """What has happened, in a line; "" for what is not worth one. Control characters are shown, not sent on."""
    match event:
        case Waiting(server):
            line = f"waiting for work at {server}"
        case Leased(task, resumed):
            line = f"{_place(task)}: {_asked(task)}" + (", done before the restart" if resumed else "")
        case Downloaded(task, seconds):
            line = f"{_place(task)}: {_beginning(task)} received, {_megabytes(task.size)} in {seconds:.1f} s"
        case Trained(task, num_examples, metrics, seconds):
            done = _VERBS[task.kind].done
            line = f"{_place(task)}: {done} on {num_examples} examples in {seconds:.1f} s{_listed(metrics)}"
        case Uploaded(task, size, seconds):
            line = f"{_place(task)}: {_VERBS[task.kind].result} sent, {_megabytes(size)} in {seconds:.1f} s"
        case Reported(task, verdict, late):
            late_words = "; late, it counts in the next round" if late else ""
            line = f"{_place(task)}: reported, {verdict}{late_words}"
        case Dropped(task, reason, failed):
            line = f"{_place(task)}: {'failed' if failed else 'dropped'}: {reason}"
        case Reconnecting(reason):
            line = f"{reason} Trying again until it works."
        case Stopped(reason):
            line = f"stopped: {reason}"
        case Moving():
            line = ""
    return clean(line)


def _doing(event: Event) -> str:
    """What begins with the event, for as long as it lasts."""
    match event:
        case Leased(task, False):
            line = f"{_place(task)}: {_VERBS[task.kind].doing}"
        case Moving(task, upload, done, size):
            verb = f"sending the {_VERBS[task.kind].result}" if upload else f"receiving {_beginning(task)}"
            line = f"{_place(task)}: {verb}, {done * 100 // max(size, 1)} % of {_megabytes(size)}"
        case Downloaded(task):
            line = f"{_place(task)}: {_VERBS[task.kind].doing}"
        case Trained(task) | Leased(task):
            line = f"{_place(task)}: reporting"
        case Reconnecting(reason, seconds):
            line = f"{reason} Trying again in {seconds:.1f} s"
        case Waiting():
            return described(event)
        case _:
            line = ""
    return clean(line)


@dataclass(frozen=True, slots=True)
class _Verbs:
    """What is said of a kind of task."""

    asked: str
    doing: str
    done: str
    result: str


_VERBS: Final = {
    TaskKind.TRAIN: _Verbs("train from", "training", "trained", "update"),
    TaskKind.SWAG: _Verbs("gather moments around", "gathering moments", "gathered moments", "moments"),
    TaskKind.EVALUATE: _Verbs("evaluate", "evaluating", "evaluated", "result"),
    TaskKind.CALIBRATE: _Verbs("calibrate", "calibrating", "calibrated", "result"),
}


def _asked(task: Task) -> str:
    return f"{_VERBS[task.kind].asked} {_beginning(task)}"


def _beginning(task: Task) -> str:
    """What the task begins from; in a daisy chain it may be another client's local model."""
    return f"version {task.version}" if "/versions/" in task.params or not task.params else "another client's model"


def _place(task: Task) -> str:
    again = f", attempt {task.attempt}" if task.attempt > 1 else ""
    return f"round {task.round}/{task.rounds}{again}"


def _listed(metrics: Mapping[str, float]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in list(metrics.items())[:METRICS_SHOWN]]
    return "".join(f", {text}" for text in shown)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
