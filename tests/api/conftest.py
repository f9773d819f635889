"""The API is spoken to in process, through the whole request lifecycle, on the loop of the test."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hansa.server.trainings.hints import HINTS


@pytest.fixture(autouse=True)
async def hints() -> AsyncIterator[None]:
    """Hints reach the requests that wait in this test."""
    HINTS.bind(asyncio.get_running_loop())
    yield
    HINTS.bind(None)
