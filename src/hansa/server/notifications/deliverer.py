"""Delivers the outbox: one message of a line after the other, all lines beside each other.

Level-triggered like the orchestrator: the rows say what is to be sent and when; a bell says that there may be more, and
a sweep finds what no bell told of. One process delivers, so nothing is claimed: a message that was delivered when the
process was killed before it could write that down is sent again after the restart, with the same id.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from django.utils import timezone

from hansa.crashpoints import crash_point
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.lifecycle.tracing import step
from hansa.server.measures import NOTIFICATIONS
from hansa.server.notifications import selectors
from hansa.server.notifications.hints import BELL, Bell
from hansa.server.notifications.models import State
from hansa.server.notifications.outcomes import Answer, Outcome, outcome_of
from hansa.server.notifications.selectors import Letter, Line
from hansa.server.notifications.sending import Sender
from hansa.tracecontext import Span

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Attempts that have just begun. One that takes longer than a moment is waited for beside them, so that receivers that
hang, however many, keep nobody else waiting."""
MOMENT_SECONDS = 0.25
IN_ALL = 1024
"""Attempts in all: what open connections there may be."""
SWEEP_SECONDS = 10.0
TROUBLE_SECONDS = 5.0
PARTING_SECONDS = 2.0
"""For how long a server that is told to end waits for answers to what it has sent."""

Take = Callable[[Outcome, datetime], None]
"""Writes an outcome down (`services.record`) with what follows from it, in one transaction."""


class Deliverer:
    """One per server. `run` ends when it is cancelled."""

    def __init__(self, take: Take, *, sender: Sender | None = None, bell: Bell = BELL) -> None:
        self._take = take
        self._sender = sender or Sender()
        self._bell = bell
        self._serving: dict[Line, asyncio.Task[None]] = {}
        self._asked_again: set[Line] = set()
        self._beginnings = asyncio.Semaphore(AT_ONCE)
        self._attempts = asyncio.Semaphore(IN_ALL)
        self._parting = False

    async def run(self) -> None:
        """Send what is due, then follow the bell, the clock and the sweep. Only cancellation ends it."""
        self._bell.bind(asyncio.get_running_loop())
        try:
            while True:
                await self._bell.heard(await self._begin_due())
        finally:
            self._parting = True
            self._bell.bind(None)
            await self._part()
            self._sender.close()

    async def _begin_due(self) -> float:
        """Serve each line that has something due, and return in how many seconds to look again."""
        try:
            lines = await read(selectors.lines)
        except Exception as error:
            # The outermost loop of the server's own work: a database that does not answer is a matter of time.
            if not OUTAGES.met(error):
                log.exception("The outbox cannot be read; trying again.")
            return TROUBLE_SECONDS
        now = timezone.now()
        for line, due in lines.items():
            if line in self._serving:
                self._asked_again.add(line)
            elif due <= now:
                self._serve(line)
        waiting = [due for line, due in lines.items() if line not in self._serving]
        return min([SWEEP_SECONDS, *((due - now).total_seconds() for due in waiting)])

    def _serve(self, line: Line) -> None:
        task = asyncio.create_task(self._send_all(line))
        self._serving[line] = task
        task.add_done_callback(lambda _: self._served(line))

    def _served(self, line: Line) -> None:
        del self._serving[line]
        if line in self._asked_again:
            self._asked_again.discard(line)
            self._bell.ring()

    async def _send_all(self, line: Line) -> None:
        """Send what is due in a line, one message after the other."""
        try:
            while not self._parting:
                letter = await read(selectors.next_letter, line, timezone.now())
                if letter is None:
                    return
                # A message and all that comes of it is one trace, whoever of us and of its receiver is restarted.
                with step(Span.root(letter.message_id.hex), training=line.queue, client=line.receiver_id):
                    async with self._turn():
                        answer = await self._attempt(letter)
                    crash_point("outbox.attempted")
                    state = await self._write_down(letter, answer)
                if state is State.PENDING:
                    self._asked_again.add(line)  # the line waits for another attempt: when, must be looked at anew
        except Exception as error:
            # The outermost loop of the server's own work: one line's trouble must not stop the others.
            if not OUTAGES.met(error):
                log.exception("A notification to %s could not be dealt with; trying again.", line.receiver_id)
            await asyncio.sleep(TROUBLE_SECONDS)
            self._asked_again.add(line)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until an attempt may begin. First come, first served."""
        loop = asyncio.get_running_loop()
        async with self._attempts:
            await self._beginnings.acquire()
            place = _Place(self._beginnings)
            over = loop.call_later(MOMENT_SECONDS, place.leave)
            try:
                yield
            finally:
                over.cancel()
                place.leave()

    async def _attempt(self, letter: Letter) -> Answer:
        if not letter.endpoint:
            return Answer(State.DROPPED, "its receiver has no endpoint any more")
        content = msgspec.json.encode(letter.body)
        try:
            return await self._sender.tell(url=letter.endpoint, message_id=letter.message_id, content=content)
        except Exception:
            # Whatever an endpoint provokes in us counts as no answer: else its line, and its task, would wait for ever.
            log.exception("%s %s could not be sent.", letter.kind, letter.message_id)
            return Answer(State.PENDING, "the server could not send to its endpoint; its log has the details")

    async def _write_down(self, letter: Letter, answer: Answer) -> State:
        now = timezone.now()
        outcome = outcome_of(id=letter.id, queue=letter.queue, attempts=letter.attempts, answer=answer, now=now)
        await call(self._take, outcome, now)
        NOTIFICATIONS.labels(outcome.state).inc()
        if outcome.state is not State.DELIVERED:
            log.info("%s %s is %s.", letter.kind, letter.message_id, outcome.state)  # why, is in its row
        return outcome.state

    async def _part(self) -> None:
        """What was sent should be written down, or it is sent again at the next start."""
        tasks = list(self._serving.values())
        if tasks:
            await asyncio.wait(tasks, timeout=PARTING_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Place:
    """One of a semaphore's places, left once however often it is asked to."""

    def __init__(self, of: asyncio.Semaphore) -> None:
        self._of: asyncio.Semaphore | None = of

    def leave(self) -> None:
        if self._of is not None:
            self._of.release()
            self._of = None
