"""Moves trainings on: called when something happened, and by a sweep that finds what nobody was told of.

Level-triggered: `advance` looks at the rows, decides and does one thing, until there is nothing to do now. Losing a
hint costs at most one sweep; looking twice does no harm. Aggregations run on threads beside it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from uuid import UUID, uuid4

from django.utils import timezone

from hansa.crashpoints import crash_point
from hansa.formats.errors import ModelFileError
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import CLAIM_SECONDS
from hansa.rounds.decisions import Aggregate, Combine, Decision, Wait
from hansa.server import measures, pulse
from hansa.server.blobs import services as blobs
from hansa.server.blobs.store import TornBlobError
from hansa.server.lifecycle import context
from hansa.server.lifecycle.bridge import call, labour, read
from hansa.server.lifecycle.errors import is_disk_full
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.trainings import selectors, stepping
from hansa.server.trainings.aggregation import Findings
from hansa.server.trainings.headlines import headline
from hansa.server.trainings.hints import HINTS, Hints
from hansa.server.trainings.mending import attend
from hansa.server.trainings.pacing import Pace
from hansa.server.trainings.pipeline import StoppedError
from hansa.server.trainings.services import aggregation, folding, rounds, tasks, torn, trainings
from hansa.server.trainings.services.aggregation import (
    Job,
    LateUpdateLostError,
    LateUpdateUnreadableError,
    MissingUpdateError,
)
from hansa.server.trainings.services.memory import LostMemoryError
from hansa.server.trainings.stepping import Made

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""How late a deadline or a lost client may be noticed."""
LOST_HINT_SECONDS = 10.0
"""How late work may be noticed of which no hint told."""
TROUBLE_SECONDS = 5.0
MAX_TROUBLES = 5
"""Aggregations that fail for reasons of the machine are tried so often before the round is begun anew."""


class OvertakenError(Exception):
    """The round is no longer as it was claimed: its file, unless a row has it by now, is removed from the store."""


class Orchestrator:
    """One per server. `run` ends when it is cancelled."""

    def __init__(self, hints: Hints = HINTS) -> None:
        self._hints = hints
        self._due: dict[UUID, datetime] = {}
        self._pace = Pace()
        self._aggregating: dict[UUID, asyncio.Task[None]] = {}
        self._troubles: dict[UUID, int] = {}
        self._stopping = Event()

    async def run(self) -> None:
        """Start from what the rows say, then follow hints, deadlines and sweeps. Only cancellation ends it."""
        while not await self._guarded(self._begin):  # noqa: ASYNC110  # there is no event to wait for, only time
            await asyncio.sleep(SWEEP_SECONDS)
        next_sweep = timezone.now()
        try:
            while True:
                pulse.beat(pulse.ORCHESTRATOR)
                await self._advance_due()
                if timezone.now() >= next_sweep:
                    await self._guarded(self._sweep)
                    next_sweep = timezone.now() + timedelta(seconds=LOST_HINT_SECONDS)
                self._pace.moved(await self._hints.next_moved(self._pace.seconds(SWEEP_SECONDS)))
                self._due.update(dict.fromkeys(self._pace.ready(), timezone.now()))
        finally:
            self._stopping.set()
            pulse.stop(pulse.ORCHESTRATOR)
            for task in self._aggregating.values():
                task.cancel()
            await asyncio.gather(*self._aggregating.values(), return_exceptions=True)

    async def _begin(self) -> None:
        """The server was away, not the clients; and whoever held a claim is gone."""
        forgiven = await call(tasks.forgive_downtime, now=timezone.now())
        dropped = await call(aggregation.drop_claims)
        if forgiven or dropped:
            log.info("After the restart: %d leases begin anew, %d aggregations are taken up again.", forgiven, dropped)

    async def _guarded(self, activity: Callable[[], Awaitable[object]]) -> bool:
        """Run one of the server's own activities; False, and a line in the log, if it failed."""
        try:
            await activity()
        except Exception as error:
            # The outermost loop of the server's own work: a locked database or a full disk must not end it.
            if not OUTAGES.met(error):
                log.exception("The orchestrator stumbled; going on.")
            return False
        return True

    async def _advance_due(self) -> None:
        now = timezone.now()
        for training_id in [key for key, due in self._due.items() if due <= now]:
            del self._due[training_id]
            try:
                with context.bound(training=training_id):
                    await self._advance(training_id)
            except Exception as error:
                # The outermost loop of the server's own work: one training's trouble must not stop the others.
                if OUTAGES.met(error):
                    self._due[training_id] = now  # it is all the others' trouble as well: in the next turn
                    return
                log.exception("Training %s could not be moved on; trying again.", training_id)
                self._due[training_id] = timezone.now() + timedelta(seconds=10 * SWEEP_SECONDS)

    async def _advance(self, training_id: UUID) -> None:
        """Do what there is to do now, then note when to look again."""
        while True:
            decision, spent = await read(_look, training_id)
            if not isinstance(decision, Wait):
                decision = await call(rounds.advance, training_id=training_id, now=timezone.now())
            match decision:
                case Wait():
                    self._pace.looked(training_id, spent)
                    if decision.until is not None:
                        self._due[training_id] = decision.until
                    return
                case Aggregate() | Combine():
                    self._start_aggregation(training_id)
                    return
                case _:
                    log.info("Training %s: %s.", training_id, headline(decision))

    def _start_aggregation(self, training_id: UUID) -> None:
        if training_id not in self._aggregating:
            with context.bound(training=training_id):  # a scope of its own: it outlives this turn
                task = asyncio.create_task(self._aggregate(training_id))
            self._aggregating[training_id] = task
            task.add_done_callback(partial(self._aggregation_ended, training_id))

    def _aggregation_ended(self, training_id: UUID, task: "asyncio.Task[None]") -> None:
        del self._aggregating[training_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("The aggregation for training %s failed.", training_id, exc_info=error)
        self._hints.moved(training_id)

    async def _aggregate(self, training_id: UUID) -> None:
        """Claim, compute, commit. Data at fault is a new attempt, or no moments, a full disk a pause, anything else is
        tried again; and never at once, unless something was done about it.
        """
        claim = uuid4()
        try:
            job = await call(aggregation.claim, training_id=training_id, now=timezone.now(), token=claim)
            if job is not None:
                context.note(round=job.number)
                await self._compute(job)
            self._troubles.pop(training_id, None)
        except StoppedError:
            log.info("Training %s: the aggregation stops with the server; the next start takes it up.", training_id)
        except Exception as error:  # noqa: BLE001  # whatever it was: `_cope` logs it, and its training goes on
            if not await self._guarded(partial(self._cope, training_id, claim, error)):
                await asyncio.sleep(TROUBLE_SECONDS)
        finally:
            # A claim that cannot be let go runs out by itself.
            await asyncio.shield(self._guarded(partial(call, aggregation.drop_claims, claim=claim)))

    async def _cope(self, training_id: UUID, claim: UUID, error: Exception) -> None:
        """Do what there is to do about an aggregation that failed; come back when it may be tried again."""
        match error:
            case LateUpdateLostError():
                await self._go_without(training_id, claim, error)
            case TornBlobError():
                if await attend(error.digest) is None:  # it is whole again: whoever had it damaged has mended it
                    await self._try_again(training_id, claim, error)
            case MissingUpdateError() | ModelFileError():
                await self._give_up(training_id, claim, f"The aggregation failed: {error}")
            case LostMemoryError():
                log.error("Training %s: %s", training_id, error)
                await call(torn.stop, training_id=training_id, reason=str(error), now=timezone.now())
            case _ if is_disk_full(error):
                reason = "The server's disk is full. Free some space there, then resume the training."
                await call(trainings.pause, training_id=training_id, reason=reason)
            case _ if OUTAGES.met(error):  # however long it lasts, it is no reason to begin the round anew
                await asyncio.sleep(TROUBLE_SECONDS)
            case _:
                log.error("Training %s: the aggregation failed.", training_id, exc_info=error)
                await self._try_again(training_id, claim, error)

    async def _go_without(self, training_id: UUID, claim: UUID, error: LateUpdateLostError) -> None:
        """Drop a late update, unless it is only what the row says of its file that is wrong: then it counts."""
        if isinstance(error, LateUpdateUnreadableError):
            whole = await attend(error.digest) is None
            if whole and not self._tried_enough(training_id):
                await asyncio.sleep(TROUBLE_SECONDS)
                return
        number, ordinal = error.number, error.ordinal
        if await call(folding.drop, training_id=training_id, number=number, ordinal=ordinal, reason=str(error)):
            log.warning("Training %s: %s; its round is aggregated without it.", training_id, error)
        else:
            await self._try_again(training_id, claim, error)

    async def _try_again(self, training_id: UUID, claim: UUID, error: Exception) -> None:
        """Not the data's fault: the accepted list stands, and the same bits can be computed in a moment. So often."""
        if not self._tried_enough(training_id):
            await asyncio.sleep(TROUBLE_SECONDS)
            return
        reason = f"The aggregation failed {MAX_TROUBLES} times, last with {type(error).__name__}: {error}."
        await self._give_up(training_id, claim, reason)

    def _tried_enough(self, training_id: UUID) -> bool:
        """Count one more trouble; True, and the count begins anew, if it was the last one to bear with."""
        self._troubles[training_id] = self._troubles.get(training_id, 0) + 1
        if self._troubles[training_id] < MAX_TROUBLES:
            return False
        del self._troubles[training_id]
        return True

    async def _give_up(self, training_id: UUID, claim: UUID, reason: str) -> None:
        if await call(rounds.give_up, training_id=training_id, claim=claim, reason=reason, now=timezone.now()):
            log.error("Training %s: %s", training_id, reason)
        else:
            log.info("Training %s: what could not be computed is wanted no more. %s", training_id, reason)

    async def _compute(self, job: Job) -> None:
        findings = Findings(job.own) if job.kind is TaskKind.TRAIN else None
        with stepping.files_for(job) as files:
            heartbeat = asyncio.create_task(self._keep_claim(job))
            try:
                with measures.aggregation(job.kind, size=sum(update.size for update in job.updates)):
                    made = await labour(stepping.compute, job, files, self._stopping, findings)
            finally:
                heartbeat.cancel()
            crash_point("aggregation.computed")
            try:
                await blobs.keep_all(files.by_digest(made), partial(self._commit, job, made, findings))
            except OvertakenError:
                log.info("Training %s: round %d went on without what was computed.", job.training_id, job.number)
                return
        what = "is aggregated" if job.kind is TaskKind.TRAIN else "has its moments"
        log.info("Training %s: round %d %s: %s", job.training_id, job.number, what, made.version.sha256)

    async def _commit(self, job: Job, made: Made, findings: Findings | None) -> None:
        told = () if findings is None else findings.told()
        commit = partial(aggregation.commit, job=job, digests=made.version, remembered=made.memory, told=told)
        if not await call(commit, now=timezone.now()):
            raise OvertakenError

    async def _keep_claim(self, job: Job) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._guarded(
                partial(call, aggregation.renew_claim, round_id=job.round_id, claim=job.claim, now=timezone.now())
            )

    async def _sweep(self) -> None:
        """Find what no hint told of."""
        for training_id in await read(selectors.live_trainings):
            self._due.setdefault(training_id, timezone.now())
        self._hints.tasks_offered(await read(selectors.clients_with_work))


def _look(training_id: UUID) -> tuple[Decision, float]:
    """What would be done next, and the processor's seconds that it took to see that: not those of waiting for one."""
    began = time.thread_time()
    decision = rounds.look(training_id=training_id, now=timezone.now())
    return decision, time.thread_time() - began
