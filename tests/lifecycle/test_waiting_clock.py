"""A wait ends with its time on every event loop, also where timers come a little before the clock says so."""

import asyncio

import pytest
import uvloop
from django.test import RequestFactory

from hansa.server.lifecycle.waiting import Waiters, wait_for


class Hasty(asyncio.SelectorEventLoop):
    """Its timers come too early."""

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when - 0.01, callback, *args, context=context)


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop, Hasty])
def test_nobody_waits_on_after_the_time_is_over(loop):
    request = RequestFactory().get("/")

    async def nothing():
        return None

    async def wait_often():
        async with asyncio.timeout(60):
            for milliseconds in (*range(1, 5), 40) * 25:
                await wait_for(nothing, waiters=Waiters(), key=1, seconds=milliseconds / 1000, request=request)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(wait_often())
