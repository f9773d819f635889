"""The least that can answer the swarm: no database, no files, nobody is asked who they are. What it takes, all take."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = Mapping[str, Any]  # Any: ASGI's messages and scopes are open dictionaries
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BASE = (8).to_bytes(8, "little") + b"{}      " + bytes(int(os.environ.get("LEAST_BYTES", "100000")))
"""Safetensors of zeros, as far as the swarm looks."""
TASK = {"id": "task", "params": "/params/", "size": len(BASE)}
STARTED = asyncio.Event()
GIVEN: set[str] = set()


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        body = await received(receive)
        answer = await answered(scope["path"], body)
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def answered(path: str, body: bytes) -> bytes:
    if path == "/params/":
        return BASE
    if path == "/start/":
        STARTED.set()
    if path == "/api/tasks/next/":
        await STARTED.wait()
        asking = json.loads(body)["instance"]
        if asking in GIVEN:
            await asyncio.Event().wait()  # there is one task for each; its client is gone before this one ends
        GIVEN.add(asking)
    return json.dumps(TASK).encode()


async def received(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


async def lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
