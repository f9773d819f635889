"""Messages over a stream: four bytes of length, the length bounded, and descriptors beside the first byte."""

import socket
from collections.abc import Sequence
from typing import Final

LENGTH: Final = 4
MAX_FILES: Final = 200
"""Of one message: the kernel takes 253. A mean of a hundred models has two for each."""


def framed(content: bytes) -> bytes:
    """A message as it is sent."""
    return len(content).to_bytes(LENGTH, "little") + content


def receive(sock: socket.socket, limit: int) -> tuple[bytes, list[int]]:
    """The next message, and the descriptors that came with it. Raises EOFError, or ValueError for one too long."""
    head, files, _, _ = socket.recv_fds(sock, LENGTH, MAX_FILES)
    head += _exactly(sock, LENGTH - len(head)) if head else b""
    if not head:
        raise EOFError
    length = int.from_bytes(head, "little")
    if length > limit:
        raise ValueError(f"a message of {length} bytes; the limit is {limit}")
    return _exactly(sock, length), files


def send(sock: socket.socket, content: bytes, files: Sequence[int] = ()) -> None:
    """Send a message on a blocking socket."""
    whole = framed(content)
    sent = socket.send_fds(sock, [whole[:LENGTH]], files)
    sock.sendall(whole[sent:])


def _exactly(sock: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = sock.recv(min(count - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
