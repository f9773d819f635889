"""Whether this server can do its work now: one finding for each thing it needs, with what to do about it.

Anybody may ask, so a finding names neither folders nor hosts nor what a database said; the log does, once, when a
finding changes. And anybody may ask without end: findings are good for a second.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from hansa.server import certificates, pulse
from hansa.server.blobs import store
from hansa.server.certificates import RENEW_BEFORE
from hansa.server.home import DISK_FLOOR
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.ops.questions import ANSWER_SECONDS, Question
from hansa.server.trainings.hints import HINTS

log = logging.getLogger(__name__)

SILENT_SECONDS = 60.0
"""The orchestrator takes a turn every second; with a thousand trainings, or on a busy machine, more rarely."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do if that is not well."""

    ok: bool
    seen: str
    do: str = ""
    figures: str = ""
    """What was seen, with figures, for those who may know them."""

    @property
    def precisely(self) -> str:
        """What was seen, as precisely as it is known."""
        return self.figures or self.seen


async def findings() -> Mapping[str, Finding]:
    """All of them, by name."""
    names = list(_QUESTIONS)
    answers = await asyncio.gather(*(question.answer() for question in _QUESTIONS.values()))
    found = {**dict(zip(names, answers, strict=True)), "orchestrator": _orchestrator(), "running": _running()}
    if (shown := certificates.served()) is not None:
        found["certificate"] = _certificate(shown.left(datetime.now(UTC)))
    _tell_changes(found)
    return found


async def _database() -> Finding:
    try:
        unapplied = await read(_unapplied_migrations)
    except DatabaseError as error:
        if not OUTAGES.met(error):
            log.debug("The database does not answer: %s", error)
        return Finding(False, f"it cannot be asked ({type(error).__name__})", _LOOK_AT_DATABASE)
    if unapplied:
        run = "Run `hansa migrate`, or start by `hansa serve`."
        return Finding(False, "migrations are missing", run, f"{unapplied} migrations are missing")
    return Finding(True, "answers, and is up to date")


_migrated = False


def _unapplied_migrations() -> int:
    """How many; after the first time that there was none, only whether the database answers."""
    global _migrated  # noqa: PLW0603  # a database under a running server is not taken back
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if _migrated:
        return 0
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    _migrated = not missing
    return missing


async def _store() -> Finding:
    try:
        await work(_write_something)
    except OSError as error:
        log.debug("The store cannot be written: %s", error)
        return Finding(False, f"it cannot be written: {error.strerror}", _LOOK_AT_STORE)
    return Finding(True, "can be written")


def _write_something() -> None:
    probe = store.new_file()
    try:
        probe.write_bytes(b"x" * 4096)
    finally:
        with suppress(OSError):  # what could not be written need not be deleted
            probe.unlink()
    if not os.access(store.home() / "blobs", os.W_OK):
        raise PermissionError(13, "no permission to write where blobs are")


async def _disk() -> Finding:
    try:
        free = (await work(shutil.disk_usage, store.home())).free
    except OSError as error:
        return Finding(False, f"it cannot be asked: {error.strerror}", _LOOK_AT_STORE)
    figures = f"{free / 2**20:,.0f} MiB are free"
    if free < DISK_FLOOR:
        least = f"Free some: {DISK_FLOOR / 2**20:,.0f} MiB on the disk of HANSA_HOME are the least."
        return Finding(False, "too little is free", least, figures)
    return Finding(True, "enough is free", figures=figures)


async def _writer() -> Finding:
    await call(_nothing)
    return Finding(True, "takes work")


def _nothing() -> None:
    """What waits behind all that is to be written, and writes nothing."""


def _orchestrator() -> Finding:
    silent = pulse.silence(pulse.ORCHESTRATOR)
    if silent is None:
        return Finding(False, "it has not begun", "Wait some seconds; then look at the server's log for what it met.")
    if silent > SILENT_SECONDS:
        look = "Look at the log, then restart the server."
        return Finding(False, "it does not move", look, f"it has not moved for {silent:.0f} s")
    return Finding(True, "moves trainings on")


def _running() -> Finding:
    if HINTS.closing:
        return Finding(False, "the server is ending", "Wait until it is started again.")
    return Finding(True, "the server is not about to end")


def _certificate(left: timedelta) -> Finding:
    """As it was when the server started: it is not read anew."""
    renew = "Renew the certificate, then restart the server."
    if left <= timedelta():
        return Finding(False, "clients refuse it: it is not valid", renew)
    if left < RENEW_BEFORE:
        return Finding(True, "it expires soon", renew, f"it expires in {left.days} days")
    return Finding(True, "is valid", figures=f"is valid for {left.days} days")


_LOOK_AT_DATABASE: Final = "Look at HANSA_DATABASE_URL and at that server; with SQLite at the disk of HANSA_HOME."
_LOOK_AT_STORE: Final = "Look at the disk of HANSA_HOME, and at whether the server's user may write there."
_LOOK_AT_WRITER: Final = "Look at the log for what it writes, and at the database's locks; then restart the server."


def _question(ask: Callable[[], Awaitable[Finding]], *, do: str) -> Question[Finding]:
    return Question(ask, unanswered=Finding(False, f"no answer within {ANSWER_SECONDS:g} s", do), remembers=True)


_QUESTIONS: Final = {
    "database": _question(_database, do=_LOOK_AT_DATABASE),
    "writer": _question(_writer, do=_LOOK_AT_WRITER),
    "store": _question(_store, do=_LOOK_AT_STORE),
    "disk": _question(_disk, do=_LOOK_AT_STORE),
}

_unwell: set[str] = set()


def _tell_changes(found: Mapping[str, Finding]) -> None:
    """Probes come every few seconds: a line when something is to be done, and one when it is well again."""
    for name, finding in found.items():
        if finding.do and name not in _unwell:
            _unwell.add(name)
            log.warning("%s: %s: %s. %s", "Ready" if finding.ok else "Not ready", name, finding.precisely, finding.do)
        elif not finding.do and name in _unwell:
            _unwell.discard(name)
            log.info("Well again: %s: %s.", name, finding.precisely)
