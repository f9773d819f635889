"""What a client has computed and not yet delivered, on disk, so that a killed client goes on where it was.

A task's entry appears once its result stands on disk, synced: from then on it is never computed again. It is marked
when the server has the update's bytes, which saves sending them twice, and goes when the server has the report.

Results are of one user at one server: whoever runs with another URL, or with another user's token, neither sees nor
loses them, and they are delivered when their own client runs again. A user's new token is the same user.

There may be several entries: a client of two trainings that was killed may be given the other one's task first.

An entry holds the task as it was given, so that a client that is started again can deliver it without being asked: the
server offers nobody a task whose round has closed, and yet its plan may count what comes late.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from hansa.client import durable
from hansa.client.address import folder_name
from hansa.crashpoints import crash_point
from hansa.protocol.calibration import CalibrationReport
from hansa.protocol.tasks import Metrics, Sha256, Task, TaskKind

logger = logging.getLogger(__name__)

KEPT = 2
"""Undelivered results, newest first; older ones are of rounds that went on without them."""


class Owner(NamedTuple):
    """Whose results they are."""

    url: str
    """Of the server."""
    user: str
    """Their id there."""

    @property
    def folder(self) -> str:
        """A name for their folder, which tells people the server."""
        return folder_name(self.url, self.user)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the trainer's work came to. `digest` and `size` are those of the update file; None for an evaluation."""

    num_examples: int
    metrics: Metrics
    seconds: float
    digest: Sha256 | None = None
    size: int = 0
    calibration: CalibrationReport | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One task's result."""

    task: str
    kind: TaskKind
    base: Sha256
    """Digest of the model version that was worked on."""
    outcome: Outcome
    trace: str = ""
    """The trace that its requests belong to."""
    uploaded: bool = False
    given: Task | None = None
    """The task itself. None in entries of earlier clients: those wait until the server offers their task again."""
    format: Literal[1] = 1


class Journal:
    """An owner's undelivered results in a state folder. For one thread of one process: the folder's lock is held."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self._all = folder / "tasks"
        self._folder = self._all / owner.folder
        for made in (self._all, self._folder):
            made.mkdir(mode=0o700, exist_ok=True)
            durable.sync_folder(made.parent)
        self._adopt()

    def update(self, task_id: str) -> Path:
        """Where the update of a task is, or is to be written before `trained` is called."""
        return self._folder / f"{_name(task_id)}.safetensors"

    def find(self, task: Task) -> Entry | None:
        """The task's result, if it is here whole. Without one, what a kill in mid-work left behind is removed."""
        entry = self._read(self._path(task.id))
        wanted = (task.id, task.kind, task.digest)
        if entry is not None and (entry.task, entry.kind, entry.base) == wanted and self._is_whole(entry):
            return entry
        self.forget(task.id)
        self._remove_all_but_newest(KEPT - 1)
        return None

    def undelivered(self) -> list[Task]:
        """The tasks whose results are here whole, oldest result first."""
        entries = [self._read(path) for path in reversed(self._newest_first())]
        return [entry.given for entry in entries if entry is not None and entry.given and self._is_whole(entry)]

    def others(self) -> list[str]:
        """The folders in which results of others wait for their client, or of this one under another URL."""
        return sorted({str(path.parent) for path in self._all.glob("*/*.json") if path.parent != self._folder})

    def trained(self, task: Task, outcome: Outcome, trace: str = "") -> Entry:
        """Keep a result for good. Its update file must be written; it is synced here, before the entry."""
        if outcome.digest is not None:
            with self.update(task.id).open("rb+") as file:
                os.fsync(file.fileno())
        entry = Entry(task=task.id, kind=task.kind, base=task.digest, outcome=outcome, trace=trace, given=task)
        durable.replace(self._path(task.id), msgspec.json.encode(entry))
        return entry

    def uploaded(self, entry: Entry, *, whole: bool = True) -> Entry:
        """The server holds the whole update; or it turned out that it does not."""
        marked = msgspec.structs.replace(entry, uploaded=whole)
        durable.replace(self._path(entry.task), msgspec.json.encode(marked))
        return marked

    def forget(self, task_id: str) -> None:
        """The task's result is delivered, or no longer wanted."""
        self._path(task_id).unlink(missing_ok=True)
        crash_point("client.entry_forgotten")
        self.update(task_id).unlink(missing_ok=True)

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{_name(task_id)}.json"

    def _read(self, path: Path) -> Entry | None:
        """An entry, or None. One that cannot be read is set aside under another name, with a warning."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Entry)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            aside = self._all.with_name("damaged.json")
            path.replace(aside)
            logger.warning(
                "a journal entry could not be read (%s) and was moved to %s; its task begins anew", error, aside
            )
            return None

    def _is_whole(self, entry: Entry) -> bool:
        update, outcome = self.update(entry.task), entry.outcome
        return outcome.digest is None or (update.exists() and update.stat().st_size == outcome.size)

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def _adopt(self) -> None:
        """Take over what an earlier client left, which knew no owners: the update before the entry that tells of it."""
        for entry in self._all.glob("*.json"):
            update = entry.with_suffix(".safetensors")
            if update.exists():
                update.replace(self._folder / update.name)
            entry.replace(self._folder / entry.name)
        for left in self._all.iterdir():
            if left.is_file():
                left.unlink()  # of tasks that were killed in mid-work

    def _remove_all_but_newest(self, count: int) -> None:
        kept = {path.stem for path in self._newest_first()[:count]}
        for path in self._folder.iterdir():
            if path.stem not in kept:
                path.unlink()


def _name(task_id: str) -> str:
    """A file name for an id that came from elsewhere."""
    return hashlib.sha256(task_id.encode()).hexdigest()[:32]
