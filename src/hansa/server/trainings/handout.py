"""Handing out tasks: when a round opens its whole cohort asks at once, and those who do are answered together."""

from collections.abc import Sequence
from uuid import UUID

from django.utils import timezone

from hansa.protocol import tasks as wire
from hansa.server.lifecycle.batches import Batches
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.shared import share
from hansa.server.trainings import assignments
from hansa.server.trainings.services import leasing
from hansa.server.trainings.services.leasing import Ask


async def task_for(ask: Ask) -> wire.Task | None:
    """Lease the next task; None if there is none. A look first: who finds nothing costs no write."""
    if not await _LOOKS.ask(ask):
        return None
    leased = await _LEASES.ask(ask)
    return None if leased is None else await _MESSAGES.ask(leased)


async def _have_work(asks: Sequence[Ask]) -> list[bool]:
    return await read(leasing.have_work, asks)


async def _lease(asks: Sequence[Ask]) -> list[UUID | None]:
    return await share(leasing.lease, asks, now=timezone.now())


async def _messages(task_ids: Sequence[UUID]) -> list[wire.Task]:
    return await read(assignments.messages, task_ids)


_LOOKS, _LEASES, _MESSAGES = Batches(_have_work), Batches(_lease), Batches(_messages)
