"""Deleting what was told long ago."""

import asyncio
import logging
from datetime import timedelta

from django.utils import timezone

from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.notifications import services

log = logging.getLogger(__name__)

KEEP = timedelta(days=7)
"""How long a settled message can be looked at."""
TIDY_SECONDS = 3600.0


async def keep_outbox() -> None:
    """Tidy for ever; ends when it is cancelled."""
    while True:
        try:
            if count := await call(services.tidy, before=timezone.now() - KEEP):
                log.info("%d notifications that were settled long ago were deleted.", count)
        except Exception as error:
            # The outermost loop of the server's own work: a full disk or a locked database is a matter of time.
            if not OUTAGES.met(error):
                log.exception("The outbox could not be tidied; trying again in %g s.", TIDY_SECONDS)
        await asyncio.sleep(TIDY_SECONDS)
