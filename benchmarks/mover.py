"""The client of transfer.py, in a process of its own: downloads, copies and uploads, by turns, each timed by itself.

It is told what to do on standard input (`Orders`), and prints what came of it (`Times`).
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import numpy as np

from hansa.client.transfer import bytes_held, fetch, send
from hansa.client.transport import Transport

MIB = 2**20


class Orders(msgspec.Struct, frozen=True):
    """What is moved, and between whom."""

    url: str
    token: str
    folder: str
    peer: str
    """A plain server of files beside Hansa, whose root is `folder`; "" where there is none."""
    rounds: int
    server: int
    """Its process, whose memory is looked at."""


class Times(msgspec.Struct):
    """Seconds, one for each round."""

    size: int = 0
    down: list[float] = []
    peer: list[float] = []
    copy: list[float] = []
    up: list[float] = []
    grown_kib: int = 0
    """By how much the server grew at most during any one download or upload."""


def main(orders: Orders) -> Times:
    """Task after task of one training: its base down, by a copy and from the peer, then an update up."""
    times = Times()
    with Transport(orders.url, orders.token) as transport, Transport(orders.peer or orders.url) as peer:
        for number in range(orders.rounds):
            _moved(transport, peer if orders.peer else None, orders, number, times)
    return times


def _moved(transport: Transport, peer: Transport | None, orders: Orders, number: int, times: Times) -> None:
    task, base = _task(transport), Path(orders.folder, "base")
    times.size, digest = int(str(task["size"])), str(task["digest"])
    fetched = partial(fetch, digest=digest, size=times.size)
    with _growing(orders.server, times):
        times.down.append(_seconds(partial(fetched, transport, str(task["params"]), base)))
    times.copy.append(_seconds(partial(_copy, base, base.with_name("copy"))))
    if peer is not None:
        times.peer.append(_seconds(partial(fetched, peer, "/base", base.with_name("fetched"))))
    update, sent = _update(base, number)
    path = f"/api/tasks/{task['id']}/update/{sent}/"
    with _growing(orders.server, times):
        times.up.append(_seconds(partial(_upload, transport, path, update, times.size)))
    report = {"digest": sent, "num_examples": 1, "metrics": {"loss": 1.0}, "seconds": 1.0}
    _said(transport, f"/api/tasks/{task['id']}/report/", report)


@contextmanager
def _growing(pid: int, times: Times) -> Iterator[None]:
    """See by how much a process has grown at most (VmHWM, proc(5)) beyond what it held at the beginning."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = _kib(pid, "VmRSS")
    yield
    times.grown_kib = max(times.grown_kib, _kib(pid, "VmHWM") - before)


def _kib(pid: int, name: str) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[name].split()[0])


def _task(transport: Transport) -> dict[str, object]:
    while True:
        answer = _said(transport, "/api/tasks/next/?wait=30", {"instance": "mover"})
        if answer.status_code == 200:  # 204 where there is none yet
            found: dict[str, object] = answer.json()
            return found


def _said(transport: Transport, path: str, message: object) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return transport.request("POST", path, content=msgspec.json.encode(message), headers=headers, timeout=120)


def _seconds(work: Callable[[], object]) -> float:
    os.sync()  # what was written before is not on this one's account
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _upload(transport: Transport, path: str, update: Path, size: int) -> None:
    """As the client does it: of a large file it asks first what the server has of it."""
    send(transport, path, update, start=bytes_held(transport, path), size=size)


def _copy(source: Path, target: Path) -> None:
    """Into a new file, which then takes the name, as `fetch` does: one that is overwritten has its pages already."""
    buffer, new = memoryview(bytearray(MIB)), target.with_name(f"{target.name}.new")
    with source.open("rb", buffering=0) as read, new.open("wb", buffering=0) as written:
        while count := read.readinto(buffer):
            written.write(buffer[:count])
        os.fsync(written.fileno())
    new.replace(target)


def _update(base: Path, number: int) -> tuple[Path, str]:
    """The base with another last number, and its SHA-256."""
    update = base.with_name("update")
    _copy(base, update)
    with update.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(number).tobytes())
        file.seek(0)
        return update, hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    done = main(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders))
    sys.stdout.buffer.write(msgspec.json.encode(done))
