"""Named points at which a process can be told to die, so that a test can show that dying there loses nothing.

    HANSA_CRASH_AT=tasks.report.committed           SIGKILL at the first passing of that point
    HANSA_CRASH_AT=tasks.renew.written:3,tasks.report.written
                                                    at the third of one or the first of the other, what comes first

Without the variable a point costs one comparison. A *change* is one transaction, and has two points: `.written`, when
its rows are changed and nothing is committed, and `.committed`, when they are and nobody has been answered. `POINTS`
lists all there are; a test compares it with the code.

Only who starts a process can set its variables: this gives nobody a power over it that they lack.
"""

import difflib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

VARIABLE: Final = "HANSA_CRASH_AT"

CHANGES: Final = (
    "accounts.create_administrator",
    "accounts.create_token",
    "accounts.enroll",
    "accounts.invite",
    "accounts.register",
    "accounts.revoke_invitation",
    "accounts.revoke_token",
    "aggregation.claim",
    "aggregation.commit",
    "aggregation.drop_claims",
    "aggregation.renew_claim",
    "blobs.correct",
    "blobs.forget",
    "coming_over.take",
    "deliveries.take",
    "dummy.make_training",
    "folding.drop",
    "groups.create",
    "groups.delete",
    "groups.rename",
    "older.accept",
    "older.accept_metrics",
    "outbox.enqueue",
    "outbox.record",
    "outbox.tidy",
    "registry.create_mean",
    "registry.create_model",
    "registry.delete_model",
    "registry.record_posted_metrics",
    "registry.record_run",
    "registry.set_preprocessing",
    "rejections.note",
    "repeats.make",
    "rounds.AbandonRound",
    "rounds.CloseRound",
    "rounds.CloseSwag",
    "rounds.Complete",
    "rounds.DropOffers",
    "rounds.ExpireLeases",
    "rounds.Fail",
    "rounds.FinishRound",
    "rounds.GoOn",
    "rounds.OpenCalibration",
    "rounds.OpenEvaluation",
    "rounds.OpenRound",
    "rounds.OpenSwag",
    "rounds.Pause",
    "rounds.RelayRound",
    "rounds.SkipMoments",
    "rounds.abandon",
    "rounds.give_up",
    "tasks.forgive_downtime",
    "tasks.give_back",
    "tasks.lease_next",
    "tasks.record_upload",
    "tasks.renew",
    "tasks.report",
    "torn.rewind",
    "torn.stop",
    "torn.withdraw",
    "trainings.add_clients",
    "trainings.cancel",
    "trainings.create",
    "trainings.delete",
    "trainings.leave",
    "trainings.move",
    "trainings.pause",
    "trainings.remove_clients",
    "trainings.resume",
    "trainings.start",
)
"""Every transaction that changes rows, by name; those of `rounds.advance` by what was decided."""

MOMENTS: Final = {
    "aggregation.chunk": "a part of the mean is written; on one of the threads that the mean is computed on",
    "aggregation.computed": "the mean is on the disk, and not in the store",
    "aggregation.memory": "the version is on the disk; what its server step remembers is written, and not flushed",
    "backup.database_saved": "the database is copied, and no file",
    "backup.written": "a backup is complete, under its temporary name",
    "blobs.placed": "a file is in the store, and no row knows it",
    "blobs.refused": "as before, and its row was refused: the file is about to be deleted",
    "client.block_sent": "a part of the update is on its way",
    "client.downloaded": "the model is on the disk, under its temporary name",
    "client.entry_forgotten": "a task's entry is deleted, and its update is not",
    "client.file_written": "an entry, or the folder's name, is written aside and not yet in its place",
    "client.leased": "nothing is done yet",
    "client.reported": "the server has the report; the client's journal has the task still",
    "client.result_noted": "the result is in the journal, and nothing of it is sent",
    "client.trained": "the result is computed, and not in the journal",
    "client.upload_noted": "the journal says that the update is sent; it is not reported",
    "client.uploaded": "the server has the update; the journal does not say so",
    "coming_over.placed": "a file that comes over is in the store, and no row is written",
    "forms.received": "a form and its files are in the temporary folder",
    "home.secret_written": "the secret key of a new data folder is written aside",
    "models.ingested": "a new model is rewritten, and not in the store",
    "older.rewritten": "an older client's result is rewritten and checked, and not in the store",
    "outbox.attempted": "a message was answered, or not, and nothing of that is written down",
    "rendered.written": "an archive is rendered, under its temporary name",
    "restore.blobs_placed": "the files of a backup are in their place, and the database is not",
    "restore.database_placed": "a backup is in its place, and what was copied aside is not deleted",
    "restore.fetched": "a backup is copied and compared, and nothing is in its place",
    "server.migrated": "the database is up to date, and nobody has been answered",
    "server.opened": "the port is open, and nobody was told",
    "uploads.checked": "an update is complete and right, and not in the store",
    "uploads.complete": "an update is complete, and not checked",
    "uploads.written": "a part of an update is written",
}
"""Every other point, and what a death there leaves: a file without its row, a result without its note."""

POINTS: Final = frozenset(f"{change}.{side}" for change in CHANGES for side in ("written", "committed")) | {*MOMENTS}


LISTED: Final = "All are listed by: python -c 'from hansa.crashpoints import POINTS; print(*sorted(POINTS))'"


class CrashPointError(ValueError):
    """HANSA_CRASH_AT cannot be used; the message says what was seen and what is wanted."""


def parse(text: str) -> Mapping[str, int]:
    """The points of HANSA_CRASH_AT, and at which passing of each to die. Raises CrashPointError.

    >>> dict(parse("tasks.report.written, tasks.renew.committed:3"))
    {'tasks.report.written': 1, 'tasks.renew.committed': 3}
    """
    wanted = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, count = entry.partition(":")
        if name not in POINTS:
            raise CrashPointError(f"{VARIABLE} names {name!r}, which is no crash point{_advice(name)}")
        if colon and not (count.isascii() and count.isdigit() and 0 < int(count) <= 1_000_000):
            raise CrashPointError(
                f"{VARIABLE} has {entry!r}; after the colon comes at which passing to die, from 1 to 1000000."
            )
        wanted[name] = int(count) if colon else 1
    if text and not wanted:
        raise CrashPointError(f"{VARIABLE} is {text!r}, which names no crash point; unset it, or name one. {LISTED}")
    return wanted


def _advice(name: str) -> str:
    if name in CHANGES:
        return f": it is a change, which has two, {name}.written and {name}.committed."
    if near := difflib.get_close_matches(name, (*CHANGES, *sorted(POINTS)), n=1):
        return f". Did you mean {' or '.join(_points_of(near[0]))}?"
    return f". {LISTED}"


def _points_of(name: str) -> list[str]:
    return [f"{name}.written", f"{name}.committed"] if name in CHANGES else [name]


_observer: Callable[[str], None] | None = None


def crash_point(name: str) -> None:
    """Pass the point `name`: nothing happens, unless HANSA_CRASH_AT names it."""
    if _observer is not None:
        _observer(name)


@contextmanager
def observed(observer: Callable[[str], None]) -> Iterator[None]:
    """Tell `observer` of each point that this process passes: it may note it, or raise what a crash stands for."""
    global _observer  # noqa: PLW0603  # one process, one observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


@contextmanager
def observed_too(observer: Callable[[str], None]) -> Iterator[None]:
    """As `observed`, and then whoever did before: a process still dies at its point, having told of it."""
    before = _observer

    def both(name: str) -> None:
        observer(name)
        if before is not None:
            before(name)

    with observed(both):
        yield


def _dying_at(wanted: Mapping[str, int]) -> Callable[[str], None]:
    passed: Counter[str] = Counter()

    def die_there(name: str) -> None:
        if name in wanted:
            passed[name] += 1
            if passed[name] == wanted[name]:
                os.kill(os.getpid(), signal.SIGKILL)

    return die_there


if VARIABLE in os.environ:
    try:
        _observer = _dying_at(parse(os.environ[VARIABLE]))
    except CrashPointError as error:
        raise SystemExit(str(error)) from None
