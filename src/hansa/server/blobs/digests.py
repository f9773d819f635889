"""The two digests of a blob, computed in one pass: SHA-256 of all, XXH3 of every block."""

import hashlib
from dataclasses import dataclass

import xxhash

BLOCK = 2**20
"""Bytes that one fast checksum covers."""
CHECKSUM_BYTES = 8


@dataclass(frozen=True, slots=True)
class Digests:
    """What identifies a blob and what finds a torn one."""

    sha256: str
    size: int
    checksums: bytes


class Digester:
    """Feed it bytes in order, in pieces of any size."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._block = xxhash.xxh3_64()
        self._in_block = 0
        self._done = bytearray()
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        self._sha.update(data)
        view = memoryview(data)
        self.size += len(view)
        while view:
            piece = view[: BLOCK - self._in_block]
            self._block.update(piece)
            self._in_block += len(piece)
            if self._in_block == BLOCK:
                self._close_block()
            view = view[len(piece) :]

    def digests(self) -> Digests:
        """The digests of all bytes so far; more may follow."""
        last = self._block.digest() if self._in_block else b""
        return Digests(self._sha.hexdigest(), self.size, bytes(self._done) + last)

    def _close_block(self) -> None:
        self._done += self._block.digest()
        self._block = xxhash.xxh3_64()
        self._in_block = 0


def block_checksum(data: bytes | memoryview) -> bytes:
    """The checksum of one block."""
    return xxhash.xxh3_64(data).digest()
