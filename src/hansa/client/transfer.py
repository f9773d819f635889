"""Model files over HTTP: from disk and to disk, a few mebibytes in memory, and resumed where they broke off."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

from hansa.client import durable
from hansa.client.answers import decoded
from hansa.client.errors import BadAnswer, DamagedDownload, Unreachable
from hansa.client.landing import Landing
from hansa.client.transport import Transport
from hansa.crashpoints import crash_point
from hansa.protocol.tasks import LENGTH_HEADER, OFFSET_HEADER, Upload

BLOCK = 1 << 20

Moving = Callable[[int, int], None]
"""Called as bytes move: (bytes there so far, bytes in all)."""

COMPLETION_SECONDS = 300.0
"""How long a server may be silent after the last byte: it syncs and checks what may be gigabytes."""


def fetch(
    transport: Transport,
    path: str,
    target: Path,
    *,
    digest: str,
    size: int,
    sync: bool = True,
    moving: Moving | None = None,
) -> None:
    """Download `path` to the file `target`.

    What a broken download left behind is kept beside the target and gone on from, if the server still has the same
    bytes (If-Range). The target appears only when size and SHA-256 are right; DamagedDownload if they are not.
    `sync` makes it survive a power cut; without, its digest must be checked before it is used after one.
    """
    part = target.with_name(f".{target.name}.{digest[:16]}.part")
    with part.open("a+b") as file, Landing(file) as landing:
        _complete(transport, path, landing, digest=digest, size=size, moving=moving or _unseen)
        seen = landing.finish(sync=sync)
    if seen != digest:
        part.unlink()
        raise DamagedDownload(
            f"{transport.url}{path}: what came has SHA-256 {seen}, promised was {digest}. It was thrown away; the "
            "next try begins anew."
        )
    crash_point("client.downloaded")
    part.replace(target)
    if sync:
        durable.sync_folder(target.parent)


def _complete(transport: Transport, path: str, landing: Landing, *, digest: str, size: int, moving: Moving) -> None:
    """Bring what `landing` lacks."""
    if landing.size > size:
        landing.restart()
    if landing.size == size:
        return
    have = landing.size
    headers = {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'} if have else {}
    with transport.stream(path, headers=headers) as answer:
        if have and not _continues(answer, have):
            landing.restart()
        for block in answer.iter_raw():
            if landing.size + len(block) > size:
                landing.restart()
                raise DamagedDownload(f"{transport.url}{path} sent more than the {size} bytes that were promised")
            landing.take(block)
            moving(landing.size, size)
    if landing.size < size:
        raise Unreachable(f"{transport.url}{path}: the download broke off at byte {landing.size} of {size}")


def _continues(answer: httpx.Response, have: int) -> bool:
    """Whether the answer begins at byte `have`; a server may always send the whole instead."""
    if answer.status_code != httpx.codes.PARTIAL_CONTENT:
        return False
    seen = answer.headers.get("Content-Range", "")
    if not seen.startswith(f"bytes {have}-"):
        raise BadAnswer(f"{answer.url} sent {seen!r} where the bytes from {have} on were asked for")
    return True


def bytes_held(transport: Transport, path: str) -> int:
    """How much of an upload the server already holds."""
    answer = transport.request("HEAD", path)
    text = answer.headers.get(OFFSET_HEADER, "")
    if not text.isdecimal():
        raise BadAnswer(f"{answer.url} answered HEAD without a usable {OFFSET_HEADER} header; seen: {text!r}")
    return int(text)


def send(
    transport: Transport, path: str, source: Path, *, start: int, size: int, moving: Moving | None = None
) -> Upload:
    """Upload the bytes of `source` from `start` to its end."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size - start),
        OFFSET_HEADER: str(start),
        LENGTH_HEADER: str(size),
    }
    with source.open("rb") as file:
        blocks = _blocks(file, start, size, moving or _unseen)
        answer = transport.request("PUT", path, content=blocks, headers=headers, timeout=COMPLETION_SECONDS)
    return decoded(answer, Upload)


def _blocks(file: BinaryIO, start: int, size: int, moving: Moving) -> Iterator[bytes]:
    file.seek(start)
    while start < size:
        block = file.read(min(BLOCK, size - start))
        if not block:
            raise OSError(f"{file.name} became shorter while it was sent")
        yield block
        crash_point("client.block_sent")
        start += len(block)
        moving(start, size)


def _unseen(done: int, size: int) -> None:
    del done, size
