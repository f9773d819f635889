"""The server's one pool of sandboxed processes: warm a while after serving began, ended with the server."""

import asyncio
import logging
from functools import partial
from importlib.util import find_spec
from typing import Final

from django.conf import settings
from django.db import OperationalError

from hansa.core.params import Array
from hansa.sandbox.confinement.protections import protections
from hansa.sandbox.messages import Call, Outcome
from hansa.sandbox.nurse import BirthError
from hansa.sandbox.pool import Pool, UnprotectedError
from hansa.sandbox.turns import FullError
from hansa.server.config import Inference, Sandbox
from hansa.server.inference import runner
from hansa.server.inference.calls import call_of, executed_of, outputs_of, summary_call_of
from hansa.server.inference.errors import FaultError, OverloadedError, UnavailableError
from hansa.server.inference.opening import at_hand
from hansa.server.inference.runner import Job
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.outage import OUTAGES
from hansa.server.registry.models import Model
from hansa.server.registry.statistics import Executed

log = logging.getLogger(__name__)

WARM_AFTER: Final = 2.0
"""Seconds of serving before torch is imported: at the start the processors have other things to do."""


class Cells:
    """Programs in the sandbox. Its processes begin with the first question, or before it by `warm`."""

    def __init__(self, config: Inference) -> None:
        self._config = config
        self._pool: Pool | None = None
        self._beginning = asyncio.Lock()

    async def outputs(self, job: Job) -> Array:
        """As `runner.Programs` says."""
        return outputs_of(await self._run(call_of(job), job))

    async def summary(self, job: Job) -> Executed:
        """As `runner.Programs` says."""
        call = summary_call_of(job)
        return executed_of(await self._run(call, job))

    async def warm(self) -> None:
        """Begin, so that the first question need not wait for it. Raises UnavailableError."""
        await self._begun()

    async def close(self) -> None:
        """End all processes."""
        async with self._beginning:
            pool, self._pool = self._pool, None
            if pool is not None:
                await pool.__aexit__(None, None, None)

    async def _run(self, call: Call, job: Job) -> Outcome:
        pool = await self._begun()
        try:
            return await pool.run(call, partial(at_hand, job.model), who=job.who)
        except FullError as error:
            raise OverloadedError(f"Too many questions wait: {error}. Ask again in a moment.") from error

    async def _begun(self) -> Pool:
        if self._pool is not None:
            return self._pool
        async with self._beginning:
            if self._pool is None:
                self._pool = await self._begin()
        return self._pool

    async def _begin(self) -> Pool:
        if (reason := why_not(self._config)) is not None:
            raise UnavailableError(reason)
        try:
            pool = Pool(
                self._config.processes,
                memory=self._config.memory_bytes,
                wall_seconds=self._config.seconds,
                weak=self._config.sandbox is Sandbox.WEAK,
            )
        except UnprotectedError as error:
            raise UnavailableError(str(error)) from error
        try:
            return await pool.__aenter__()
        except BirthError as error:
            await pool.__aexit__(None, None, None)
            raise FaultError(f"The sandbox's processes did not start ({error}). Ask again in a moment.") from error


def why_not(config: Inference) -> str | None:
    """Why this server runs no programs, whatever the machine; None: it does."""
    if config.processes == 0:
        return "This server runs no programs: HANSA_INFERENCE_PROCESSES is 0. Ask its operator to unset it."
    if find_spec("torch") is None:
        return (
            "This server runs no programs: torch is not installed there. Its operator adds it: pip install hansa[torch]"
        )
    return None


async def keep_programs() -> None:
    """Have a pool for as long as the server serves; warm it if there is a program that may be asked for."""
    config: Inference = settings.CONFIG.inference
    cells = Cells(config)
    runner.use(cells)
    try:
        await asyncio.sleep(WARM_AFTER)
        log.info("Sandbox: %s", why_not(config) or protections())
        if why_not(config) is None:
            await _warm_if_asked_for(cells)
        await asyncio.Event().wait()  # until the server ends
    finally:
        runner.use(None)
        await cells.close()


async def _warm_if_asked_for(cells: Cells) -> None:
    try:
        if await read(_has_programs):
            await cells.warm()
    except OperationalError as error:
        if not OUTAGES.met(error):  # without it nobody can ask; the first question begins
            raise
    except (UnavailableError, FaultError) as error:
        log.warning("Models cannot be asked: %s", error.detail)


def _has_programs() -> bool:
    return Model.objects.filter(archive__isnull=False, structure__isnull=False).exists()
