"""Following a training until it ends: `watch`, a live table in a terminal and a line per round elsewhere.

The server is asked to answer when something has changed. When it does not answer at all (it is being restarted), that
is shown, and asked again for ever.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from hansa.cli.progress import ENDED_STATUSES, Progress, headline, progress, rounds_table, sentence
from hansa.cli.record import exclusions
from hansa.client.api import Api
from hansa.client.errors import ApiError, Unreachable
from hansa.client.plaintext import clean
from hansa.protocol.trainings import Training

WAIT_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
ROOM = 8
"""Lines of a terminal that the table leaves to what stands around it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a training at one moment."""

    training: Training
    progress: Progress

    @property
    def ended(self) -> bool:
        """Whether the training moves no more by itself."""
        return self.training.status in ENDED_STATUSES


class View(Protocol):
    """Where a training is shown."""

    def show(self, snapshot: Snapshot) -> None: ...  # noqa: D102 - something changed
    def trouble(self, text: str) -> None: ...  # noqa: D102 - the server does not answer, and is asked again


def watch(api: Api, training: str, *, console: Console, sleep: Callable[[float], None] = time.sleep) -> Training:
    """Show a training on `console` until it is completed, cancelled or in error; the last record of it.

    Raises what the first call raises; later the server may be away for as long as it likes.
    """
    snapshot = snapped(api, training)
    with _view(console) as view:
        view.show(snapshot)
        while not snapshot.ended:
            snapshot = _next(api, snapshot, view, sleep)
            view.show(snapshot)
    return snapshot.training


def snapped(api: Api, training: str, *, wait: float = 0, revision: int | None = None) -> Snapshot:
    """The training, once its revision is another one, with its rounds.

    The record is read first: what changes in between changes the revision as well, and is read the next time.
    """
    record = api.training(training, wait=wait, revision=revision)
    return Snapshot(record, progress(api.rounds(training), api.metrics(training)))


def _next(api: Api, before: Snapshot, view: View, sleep: Callable[[float], None]) -> Snapshot:
    pause, wait = FIRST_PAUSE_SECONDS, WAIT_SECONDS
    while True:
        try:
            return snapped(api, before.training.id, wait=wait, revision=before.training.revision)
        except Unreachable as error:
            view.trouble(f"{error} Trying again.")
        except ApiError as error:
            if error.status < 500 and error.status != 429:
                raise
            view.trouble(f"{error} Trying again.")
        sleep(pause)
        # Ask for an answer at once: that the server is back is news, though nothing may have changed.
        pause, wait = min(2 * pause, LONGEST_PAUSE_SECONDS), 0.0


@contextmanager
def _view(console: Console) -> Iterator[View]:
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, auto_refresh=True, refresh_per_second=8, transient=True) as live:
        table = Table(live)
        yield table
    if table.last is not None:
        console.print(table.whole(table.last))


class Table:
    """Repainted in place, as much of it as the terminal has room for; whole once the training has ended."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Repaint."""
        self.last = snapshot
        self._paint(_below(snapshot.training))

    def trouble(self, text: str) -> None:
        """Below what was last known, say why it is not known now."""
        self._paint(Text(clean(text), style="yellow"))

    @staticmethod
    def whole(snapshot: Snapshot) -> RenderableType:
        """Everything, to stay on the screen."""
        table = rounds_table(snapshot.progress) if snapshot.progress.lines else Text("No round was begun.")
        return Group(headline(snapshot.training), "", table, "", _below(snapshot.training))

    def _paint(self, below: Text) -> None:
        if self.last is None:
            return
        parts: list[RenderableType] = [headline(self.last.training), ""]
        if self.last.progress.lines:
            parts += [rounds_table(self.last.progress, newest=self._live.console.height - ROOM), ""]
        self._live.update(Group(*parts, Spinner("dots", text=below)))


def _below(training: Training) -> Text:
    """Why it stands as it does, and who is left out."""
    return Text("\n".join(clean(line) for line in (training.reason, *exclusions(training))))


class Lines:
    """A line for each thing that happened, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = ""
        self._trouble = ""
        self._told: set[tuple[int, int]] = set()
        self._excluded: list[str] = []

    def show(self, snapshot: Snapshot) -> None:
        """Tell what is new."""
        if self._trouble:
            self._trouble = ""
            self._tell("the server answers again")
        for line in snapshot.progress.lines:
            if line.ended and (line.number, line.attempt) not in self._told:
                self._told.add((line.number, line.attempt))
                self._tell(sentence(line, snapshot.progress.score))
        excluded = exclusions(snapshot.training)
        for each in excluded if excluded != self._excluded else []:
            self._tell(each)
        self._excluded = excluded
        if snapshot.training.status != self._status:
            self._status = snapshot.training.status
            self._tell(f"training {self._status}: {snapshot.training.reason}")

    def trouble(self, text: str) -> None:
        """Tell it once, not at every try."""
        if not self._trouble:
            self._tell(text)
        self._trouble = text

    def _tell(self, text: str) -> None:
        self._console.print(Text(clean(text)), soft_wrap=True)
