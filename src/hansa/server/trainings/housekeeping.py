"""Deleting what is of no more use: blobs without a reference, files without a row, broken uploads, expired sessions.

Runs beside the orchestrator, so that no training waits for it. Whatever goes wrong is logged and tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from django.utils import timezone

from hansa.server.accounts import sessions
from hansa.server.blobs import services as blobs
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.registry import rendered
from hansa.server.trainings import assignments, uploads

log = logging.getLogger(__name__)

COLLECT_SECONDS = 10.0
BLOB_GRACE = timedelta(seconds=10)
"""A row is written in the transaction that refers to it, under its digest's lock: an unreferenced one is waste. A
download that has begun keeps its file open."""
UPLOAD_GRACE = timedelta(minutes=5)
"""How long what is left of a closed task's upload stays: its client may be about to be told."""
STRAY_SECONDS = 3600.0
STRAY_GRACE = timedelta(days=1)
SESSION_SECONDS = 3600.0


async def keep_house() -> None:
    """Collect for ever; ends when it is cancelled."""
    await asyncio.gather(
        _every(COLLECT_SECONDS, _collect),
        _every(COLLECT_SECONDS, _drop_uploads),
        _every(STRAY_SECONDS, _strays),
        _every(SESSION_SECONDS, _sessions),
    )


async def _every(seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await chore()
        except Exception as error:
            # The outermost loop of the server's own work: a full disk or a locked database is a matter of time.
            if not OUTAGES.met(error):
                log.exception("Housekeeping failed; trying again in %g s.", seconds)
        await asyncio.sleep(seconds)


async def _collect() -> None:
    if count := await blobs.collect(before=timezone.now() - BLOB_GRACE):
        log.info("%d blobs that nothing refers to were deleted.", count)


async def _drop_uploads() -> None:
    before = (timezone.now() - UPLOAD_GRACE).timestamp()
    if count := await work(uploads.drop_abandoned, open_tasks=await read(assignments.open_uploads), before=before):
        log.info("What broken uploads had left of %d closed tasks was deleted.", count)


async def _sessions() -> None:
    if count := await call(sessions.clear_expired, now=timezone.now()):
        log.info("%d sessions of browsers that had expired were deleted.", count)


async def _strays() -> None:
    if count := await blobs.collect_strays(before=timezone.now() - STRAY_GRACE):
        log.info("%d files that no row knows were deleted.", count)
    unused = (timezone.now() - STRAY_GRACE).timestamp()
    if count := await work(rendered.drop_unused, before=unused):
        log.info("%d rendered archives that nobody has asked for in a day were deleted.", count)
