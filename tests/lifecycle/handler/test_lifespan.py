"""A project's ASGI application may be the handler alone: it answers the lifespan, and no other kind of scope."""

import asyncio
import threading
from typing import Any

import pytest

from hansa.server.lifecycle import threads


async def test_the_handler_lives_and_gives_its_threads_back(serve: Any) -> None:
    handler = serve("hansa.server.urls")
    borrowed = threads.BorrowedThread(handler.lender)
    thread = await asyncio.wrap_future(borrowed.submit(threading.current_thread))
    borrowed.release(ended=True)
    asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    living = asyncio.create_task(handler({"type": "lifespan"}, asked.get, said.put))
    async with asyncio.timeout(10):
        await asked.put({"type": "lifespan.startup"})
        assert await said.get() == {"type": "lifespan.startup.complete"}
        assert thread.is_alive()
        await asked.put({"type": "lifespan.shutdown"})
        assert await said.get() == {"type": "lifespan.shutdown.complete"}
        await living

    assert not thread.is_alive()


async def test_a_websocket_is_refused_with_a_sentence(serve: Any) -> None:
    async def nothing(*_: object) -> None:
        raise AssertionError("nothing is asked, and nothing said")

    with pytest.raises(ValueError, match="serves HTTP, not 'websocket'"):
        await serve("hansa.server.urls")({"type": "websocket"}, nothing, nothing)
