"""Model files over HTTP: from disk and to disk, a mebibyte in memory at a time, and resumed where they broke off."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

from hansa.client import durable
from hansa.client.errors import BadAnswer, DamagedDownload, Unreachable
from hansa.client.transport import Transport, decoded
from hansa.protocol.tasks import LENGTH_HEADER, OFFSET_HEADER, Upload

BLOCK = 1 << 20

COMPLETION_SECONDS = 300.0
"""How long a server may be silent after the last byte: it syncs and checks what may be gigabytes."""


def fetch(transport: Transport, path: str, target: Path, *, digest: str, size: int) -> int:
    """Download `path` to the file `target`, durably, and return how many bytes had to be moved.

    What a broken download left behind is kept beside the target and gone on from, if the server still has the same
    bytes (If-Range). The target appears only when size and SHA-256 are right; DamagedDownload if they are not.
    """
    part = target.with_name(f".{target.name}.{digest[:16]}.part")
    with part.open("a+b") as file:
        moved = _complete(transport, path, file, digest=digest, size=size)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != digest:
        part.unlink()
        raise DamagedDownload(
            f"{transport.url}{path}: what came has SHA-256 {seen}, promised was {digest}. It was thrown away; the "
            "next try begins anew."
        )
    durable.move(part, target)
    return moved


def _complete(transport: Transport, path: str, file: BinaryIO, *, digest: str, size: int) -> int:
    """Append to `file` what it lacks."""
    have = file.seek(0, os.SEEK_END)
    if have > size:
        have = file.truncate(0)
    if have == size:
        return 0
    headers = {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'} if have else {}
    with transport.stream(path, headers=headers) as answer:
        if have and not _continues(answer, have):
            have = file.truncate(0)
        moved = _append(answer, file, limit=size - have)
    if have + moved < size:
        raise Unreachable(f"{transport.url}{path}: the download broke off at byte {have + moved} of {size}")
    return moved


def _continues(answer: httpx.Response, have: int) -> bool:
    """Whether the answer begins at byte `have`; a server may always send the whole instead."""
    if answer.status_code != httpx.codes.PARTIAL_CONTENT:
        return False
    seen = answer.headers.get("Content-Range", "")
    if not seen.startswith(f"bytes {have}-"):
        raise BadAnswer(f"{answer.url} sent {seen!r} where the bytes from {have} on were asked for")
    return True


def _append(answer: httpx.Response, file: BinaryIO, *, limit: int) -> int:
    moved = 0
    for block in answer.iter_raw(BLOCK):
        moved += len(block)
        if moved > limit:
            file.truncate(0)
            raise DamagedDownload(f"{answer.url} sent more than the {limit} bytes that were missing")
        file.write(block)
    return moved


def bytes_held(transport: Transport, path: str) -> int:
    """How much of an upload the server already holds."""
    answer = transport.request("HEAD", path)
    text = answer.headers.get(OFFSET_HEADER, "")
    if not text.isdecimal():
        raise BadAnswer(f"{answer.url} answered HEAD without a usable {OFFSET_HEADER} header; seen: {text!r}")
    return int(text)


def send(transport: Transport, path: str, source: Path, *, start: int, size: int) -> Upload:
    """Upload the bytes of `source` from `start` to its end."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size - start),
        OFFSET_HEADER: str(start),
        LENGTH_HEADER: str(size),
    }
    with source.open("rb") as file:
        file.seek(start)
        answer = transport.request("PUT", path, content=_blocks(file), headers=headers, timeout=COMPLETION_SECONDS)
    return decoded(answer, Upload)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block
