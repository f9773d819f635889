"""Refusals of what clients send for their tasks, on their way to the event log."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from django.db import DatabaseError

from hansa.formats.errors import ModelFileError
from hansa.protocol.errors import ErrorCode
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.lifecycle.shared import share
from hansa.server.trainings.services import rejections

log = logging.getLogger(__name__)

OF_CONTENT = frozenset(
    {
        ErrorCode.BAD_MODEL_FILE,
        ErrorCode.SPEC_MISMATCH,
        ErrorCode.NOT_FINITE,
        ErrorCode.TOO_LARGE,
        ErrorCode.INVALID,
        ErrorCode.DIGEST_MISMATCH,
        ErrorCode.DIGEST_CONFLICT,
    }
)
"""What is wrong with the result itself. That its round has closed, or that bytes are missing, is of every day."""


@asynccontextmanager
async def noted(task_id: UUID, user_id: UUID) -> AsyncIterator[None]:
    """What is refused in here is refused all the same, and the training's event log says so."""
    try:
        yield
    except (ServiceError, ModelFileError) as error:
        if error.code in OF_CONTENT:
            try:
                await share(rejections.note, task_id=task_id, user_id=user_id, code=error.code, reason=str(error))
            except DatabaseError:
                # The client is to hear why it is refused, also of a server whose disk is full.
                log.exception("A refusal of what was sent for task %s could not be noted.", task_id)
        raise
