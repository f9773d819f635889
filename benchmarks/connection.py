"""One keep-alive connection that costs next to nothing: who makes load must not be what is measured."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self, cast

from harness import BenchmarkError

END_OF_HEAD = b"\r\n\r\n"
END_OF_BODY = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and when its last byte did (`time.perf_counter`)."""

    status: int
    body: bytes
    moment: float
    seconds: float
    """Since its request was written."""


class Connection(asyncio.Protocol):
    """Asks one thing at a time. HTTP/1.1 as granian writes it: a Content-Length, or chunks.

    One that the server has closed while nothing was asked is opened again, as every client does it.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = host, port
        self._head = f" HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Token {token}\r\n"
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._received = bytearray()
        self._asked = 0.0

    @classmethod
    async def to(cls, host: str, port: int, token: str) -> Self:
        """A new one."""
        made = cls(host, port, token)
        await made.open()
        return made

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)

    async def ask(self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json") -> Answer:
        """Send a request, and wait for the whole answer. BenchmarkError if the connection breaks."""
        if self._answer is not None:
            raise BenchmarkError(f"{method} {path}: this connection waits for another answer")
        if self._transport is None:
            await self.open()
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        length = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else "Content-Length: 0\r\n"
        self._asked = time.perf_counter()
        self._transport.write(f"{method} {path}{self._head}{length}\r\n".encode() + body)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are that but for the base class

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = self._whole()
        if answer is not None and self._answer is not None and not self._answer.done():
            self._received.clear()
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._received.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BenchmarkError(f"the server broke a connection off: {exc or 'no error'}"))

    def _whole(self) -> Answer | None:
        """The answer, once all of it is here."""
        end = self._received.find(END_OF_HEAD)
        if end < 0:
            return None
        head, start = bytes(self._received[:end]).lower(), end + len(END_OF_HEAD)
        if b"transfer-encoding: chunked" in head:
            if not self._received.endswith(END_OF_BODY):
                return None
            body = _joined(bytes(self._received[start:]))
        else:
            length = _length(head)
            if len(self._received) < start + length:
                return None
            body = bytes(self._received[start : start + length])
        now = time.perf_counter()
        return Answer(int(head[9:12]), body, now, now - self._asked)


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _joined(chunked: bytes) -> bytes:
    pieces: list[bytes] = []
    position = 0
    while True:
        end = chunked.index(b"\r\n", position)
        size = int(chunked[position:end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(chunked[end + 2 : end + 2 + size])
        position = end + 4 + size
