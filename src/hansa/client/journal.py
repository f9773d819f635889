"""What a client knows of the task at hand, on disk, so that a killed client goes on where it was.

    LEASED     the task is ours; nothing is known of its result
    TRAINED    the result stands on disk, synced: it is never computed again
    UPLOADED   the server has the update's bytes
    REPORTED   the server has the report; the update is removed

Only TRAINED must survive a power cut. The other marks save a request when they survive, and cost nothing when they
do not: the server then says what it already has.
"""

import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from hansa.client import durable
from hansa.protocol.tasks import Metrics, Sha256, Task, TaskKind

logger = logging.getLogger(__name__)


class Phase(StrEnum):
    """How far a task has come."""

    LEASED = "leased"
    TRAINED = "trained"
    UPLOADED = "uploaded"
    REPORTED = "reported"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the trainer's work came to. `digest` and `size` are those of the update file; None for an evaluation."""

    num_examples: int
    metrics: Metrics
    seconds: float
    digest: Sha256 | None = None
    size: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One task, its phase, and from TRAINED on its outcome."""

    task: str
    kind: TaskKind
    base: Sha256
    """Digest of the model version that was worked on."""
    phase: Phase
    outcome: Outcome | None = None
    format: Literal[1] = 1


class Journal:
    """The entry of one state folder. For one thread of one process: the folder's lock is held."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "task.json"
        self.update = folder / "update.safetensors"
        """Where the update of the task at hand is written before `trained` is called."""

    def begin(self, task: Task) -> Entry:
        """Take up a leased task: where it was left, if its result is still here, or else from its beginning."""
        entry = self.load()
        same = entry is not None and (entry.task, entry.kind, entry.base) == (task.id, task.kind, task.digest)
        if entry is not None and same and self._has_result(entry):
            return entry
        self.update.unlink(missing_ok=True)
        return self._write(Entry(task=task.id, kind=task.kind, base=task.digest, phase=Phase.LEASED), durably=False)

    def trained(self, entry: Entry, outcome: Outcome) -> Entry:
        """Keep the outcome for good. The update file must be written; it is synced here, before the entry."""
        if outcome.digest is not None:
            with self.update.open("rb+") as file:
                os.fsync(file.fileno())
        return self._write(msgspec.structs.replace(entry, phase=Phase.TRAINED, outcome=outcome), durably=True)

    def uploaded(self, entry: Entry) -> Entry:
        """The server holds the whole update."""
        return self._write(msgspec.structs.replace(entry, phase=Phase.UPLOADED), durably=False)

    def reported(self, entry: Entry) -> Entry:
        """The server holds the report, so the update is not needed any more."""
        reported = self._write(msgspec.structs.replace(entry, phase=Phase.REPORTED), durably=False)
        self.update.unlink(missing_ok=True)
        return reported

    def drop(self) -> None:
        """Forget the task at hand and what came of it."""
        self._path.unlink(missing_ok=True)
        self.update.unlink(missing_ok=True)

    def load(self) -> Entry | None:
        """The entry on disk, or None. One that cannot be read is set aside under another name, with a warning."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Entry)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            aside = self._path.with_name("task.json.damaged")
            self._path.replace(aside)
            logger.warning("the journal could not be read (%s) and was moved to %s; its task begins anew", error, aside)
            return None

    def _has_result(self, entry: Entry) -> bool:
        outcome = entry.outcome
        if entry.phase not in (Phase.TRAINED, Phase.UPLOADED) or outcome is None:
            return False
        return outcome.digest is None or (self.update.exists() and self.update.stat().st_size == outcome.size)

    def _write(self, entry: Entry, *, durably: bool) -> Entry:
        durable.replace(self._path, msgspec.json.encode(entry), sync=durably)
        return entry
