"""Everything that nothing refers to is deleted from HANSA_HOME at once, by the server's own collection.

    HANSA_HOME=… python -m hansa.simulation.chaos.collection

A server does so by and by, after periods of grace in which somebody may still be at work; here nobody is.
"""

import asyncio
from datetime import timedelta


def collect() -> None:
    """Collect unreferenced blobs, files without a row, and what broken uploads have left."""
    from hansa.server.process import sole_use

    with sole_use():
        from django.utils import timezone

        asyncio.run(_collect((timezone.now() + timedelta(minutes=1)).timestamp()))


async def _collect(before: float) -> None:
    """`before`, in seconds since the epoch, lies ahead: of what there is, everything is old enough."""
    from datetime import UTC, datetime

    from hansa.server.blobs import services as blobs
    from hansa.server.lifecycle.bridge import read, work
    from hansa.server.trainings import assignments, uploads

    moment = datetime.fromtimestamp(before, UTC)
    while await blobs.collect(before=moment):
        pass
    await blobs.collect_strays(before=moment)
    await work(uploads.drop_abandoned, open_tasks=await read(assignments.open_uploads), before=before)


if __name__ == "__main__":
    collect()
