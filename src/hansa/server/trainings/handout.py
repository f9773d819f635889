"""Handing out tasks: when a round opens its whole cohort asks at once, and those who do are answered together.

A task is leased and its message read in one piece of work. Who finds nothing has begun a transaction that wrote
nothing, which costs no disk; a look before it would cost all who find something another way from thread to thread.
"""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from hansa.protocol import tasks as wire
from hansa.server.lifecycle.batches import Batches
from hansa.server.lifecycle.shared import share
from hansa.server.trainings import assignments, downloads
from hansa.server.trainings.services import leasing
from hansa.server.trainings.services.leasing import Ask


async def task_for(ask: Ask) -> wire.Task | None:
    """Lease the next task; None if there is none."""
    return await _HANDED_OUT.ask(ask)


async def _hand_out(asks: Sequence[Ask]) -> list[wire.Task | None]:
    return await share(_leased, asks, now=timezone.now())


def _leased(asks: Sequence[Ask], *, now: datetime) -> list[wire.Task | None]:
    leased = leasing.lease(asks, now=now)
    given = [task_id for task_id in leased if task_id is not None]
    told = dict(zip(given, assignments.messages(given), strict=True))
    for ask, task_id in zip(asks, leased, strict=True):
        if task_id is not None:
            downloads.expect(task_id, ask.user_id, told[task_id].digest)
    return [None if task_id is None else told[task_id] for task_id in leased]


AT_ONCE = 16
REST = 2.0
"""Who is given a task fetches its base at once, which takes the server about twice as long as the task did."""
_HANDED_OUT = Batches(_hand_out, most=AT_ONCE, rest=REST)
