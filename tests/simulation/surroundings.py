"""All that the server has around it, in the hands of a schedule: clock, threads, locks, dice, log, and a folder.

The server's code is as it is; what it reaches the world by is replaced while a schedule is played. The bridge runs its
jobs one by one at moments of virtual time, `asyncio` is `coroutines.Asyncio`, files are real ones on a disk that nobody
waits for. What the server would only log, because it must go on whatever happens, ends the schedule here.
"""

import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.conf import settings

from hansa.crashpoints import observed
from hansa.server.blobs import store
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import BlobFile
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.home import FOLDERS
from hansa.server.lifecycle import bridge, shared
from hansa.server.lifecycle.batches import Batches
from hansa.server.notifications import deliverer
from hansa.server.trainings import housekeeping, mending, orchestrator, stepping
from hansa.server.trainings.aggregation import Findings, aggregate
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.services.aggregation import Job
from simulation.coroutines import Activity, Asyncio, Course, Gathered, Locks, Turn
from simulation.machine import Machine, SimulatedCrash
from simulation.timeline import Timeline


class MachineTroubleError(Exception):
    """The machine, and not the data, is why an aggregation fails."""


class Surroundings:
    """Of one server, life after life. `play` installs them, and fills in who is to be told."""

    def __init__(self, home: Path, timeline: Timeline, machine: Machine) -> None:
        self.home, self.timeline, self.machine = home, timeline, machine
        self.locks = Locks()
        self.gathered = Gathered(lambda: timeline.between(0.001, machine.faults.slowest_batch))
        self.begun: Callable[[str, Course], Activity] = _nobody
        self.passed: Callable[[str], None] = _nobody
        self.moved: Callable[[UUID], None] = _nobody
        self.offered: Callable[[Iterable[UUID]], None] = _nobody
        self._make_home()

    def _make_home(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        for name in (*FOLDERS, "damaged"):
            (self.home / name).mkdir(parents=True)
        self.forget()

    def forget(self) -> None:
        """What a process knows of its disk and holds of it dies with it."""
        self.locks.forget()
        self.gathered.forget()
        store._durable_folders.clear()

    @contextmanager
    def installed(self, seed: int) -> Iterator[None]:
        """In the place of the real ones, until the end of the block."""
        source = Random(f"identities {seed}")  # noqa: S311  # repeatable, not secret

        async def ask(batches: Batches[Any, Any], asked: Any) -> Any:  # Any: whatever is asked of them
            return await self.gathered.ask(batches, asked)

        asyncio = Asyncio(lambda course: self.begun("", course))
        replaced: list[tuple[object, str, object]] = [
            (settings, "CONFIG", replace(settings.CONFIG, home=self.home)),
            (bridge, "_run", self._run),
            (Batches, "ask", ask),
            (shared, "_outcome", outcome_of_who_lives(shared._outcome)),
            (store, "lock", self.locks.of),
            (SUSPICION, "raised", self._suspected),
            (HINTS, "moved", self._hear_moved),
            (HINTS, "tasks_offered", self._hear_offered),
            (stepping, "aggregate", self._aggregate),
            *((module, "asyncio", asyncio) for module in (orchestrator, deliverer)),
            # traces: a coroutine that is dropped in the middle of its step would leave that to whoever comes next
            (deliverer, "step", _no_step),
            *((module, "log", Log()) for module in (orchestrator, mending, housekeeping, deliverer)),
        ]
        with ExitStack() as stack:
            stack.enter_context(patch("os.urandom", source.randbytes))
            stack.enter_context(patch("os.fsync", lambda descriptor: None))
            stack.enter_context(patch("django.utils.timezone.now", self._now))
            for owner, name, stand_in in replaced:
                stack.enter_context(patch.object(owner, name, stand_in))
            stack.enter_context(observed(self._pass))
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
            yield

    def _hear_moved(self, training: UUID) -> None:
        self.moved(training)

    def _hear_offered(self, clients: Iterable[UUID]) -> None:
        self.offered(clients)

    def _pass(self, point: str) -> None:
        self.passed(point)

    def _now(self) -> datetime:
        return self.timeline.now

    async def _run(self, executor: Executor, job: Callable[[], Any]) -> Any:  # Any: whatever the job gives
        """As the bridge does: it begins in a moment, and its caller hears of its end in another."""
        slowest = self.machine.faults.slowest_mean if executor is bridge._labourers else 0.02
        await Turn(self.timeline.between(0.0005, slowest))
        given = job()
        await Turn(self.timeline.between(0.0005, 0.005))
        return given

    def _aggregate(self, job: Job, blob: BlobFile, stopping: Event, findings: Findings | None) -> Digests:
        if self.timeline.chance(self.machine.faults.trouble):
            raise MachineTroubleError
        return aggregate(job, blob, stopping, findings)

    def _suspected(self, digest: str) -> None:
        self.begun(f"attend {digest[:8]}", mending._guarded(partial(mending.attend, digest)))


def outcome_of_who_lives(outcome: Callable[[Any], Any]) -> Callable[[Any], Any]:  # Any: its own types are private
    """Services that share a transaction hear each other's errors; a death there is everybody's."""

    def checked(job: Any) -> Any:  # Any: as above
        given = outcome(job)
        if isinstance(given.error, SimulatedCrash):
            raise given.error
        return given

    return checked


class Log:
    """Lines for people are left out; of an error that nobody expects, the schedule must hear."""

    def info(self, *line: object) -> None:
        """Nobody reads it."""

    warning = info

    def error(self, *line: object, exc_info: BaseException | None = None) -> None:
        if exc_info is not None and not isinstance(exc_info, MachineTroubleError):
            raise exc_info

    def exception(self, *line: object) -> None:
        self.error(exc_info=sys.exception())


def _no_step(*span: object, **noted: object) -> nullcontext[None]:
    return nullcontext()


def _nobody(*told: object) -> Any:  # Any: nobody is told, and nothing comes of it
    """Before a schedule has begun."""
