"""One question to a cell and its answer, on the event loop. What the cell says is a stranger's word."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from hansa.sandbox.framing import LENGTH
from hansa.sandbox.messages import MAX_ANSWER, Answer, checked

LARGE: Final = 2**20
"""Bytes that are copied or read elsewhere than on the event loop."""


async def asked(sock: socket.socket, message: bytes, files: Sequence[int]) -> Answer:
    """What the cell answers. Raises EOFError or ConnectionError if it ends, ValueError for what is no answer."""
    loop = asyncio.get_running_loop()
    head = len(message).to_bytes(LENGTH, "little")
    sent = socket.send_fds(sock, [head], files)  # an idle cell has read everything: there is room
    await loop.sock_sendall(sock, head[sent:])
    await loop.sock_sendall(sock, message)
    length = int.from_bytes(await _exactly(sock, LENGTH), "little")
    if length > MAX_ANSWER:
        raise ValueError(f"the answer has {length} bytes; the limit is {MAX_ANSWER}")
    content = await _exactly(sock, length)
    return checked(content) if length < LARGE else await asyncio.to_thread(checked, content)


async def _exactly(sock: socket.socket, count: int) -> bytearray:
    loop, content = asyncio.get_running_loop(), bytearray()
    while len(content) < count:
        part = await loop.sock_recv(sock, min(count - len(content), LARGE))
        if not part:
            raise EOFError
        content += part
    return content
