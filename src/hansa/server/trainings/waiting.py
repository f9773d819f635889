"""Requests that wait for work, or for a training to move."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from django.http import HttpRequest
from rest_framework.request import Request

from hansa.server.lifecycle import waiting
from hansa.server.trainings.hints import HINTS

T = TypeVar("T")


async def wait_for(
    look: Callable[[], Awaitable[T | None]],
    *,
    key: UUID,
    seconds: float,
    request: HttpRequest | Request,
    settle: float = 0,
) -> T | None:
    """The lifecycle's `wait_for`, woken by the process's hints: a client's id for work, a training's for its moves."""
    return await waiting.wait_for(look, waiters=HINTS, key=key, seconds=seconds, request=request, settle=settle)
