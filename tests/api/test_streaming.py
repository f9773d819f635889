"""Clients that go away, fall silent or never end: nothing is read for nobody, and nobody is waited for for ever."""

import asyncio
import gc

import psutil
import pytest

from hansa.server.blobs import store
from hansa.server.lifecycle import body, files
from hansa.server.trainings import uploads
from support.answers import refused
from support.exchange import Exchange
from support.work import update

PIECE = 64
"""Bytes of a download at a time, in these tests: the small model has a few hundred."""


# Downloads


class Reads:
    """Counts the pieces read of a blob; each waits until the test lets it go on."""

    def __init__(self):
        self.count = 0
        self._allowed = asyncio.Semaphore(0)
        self._begun = asyncio.Semaphore(0)

    async def __call__(self, function, *arguments):
        self.count += 1
        self._begun.release()
        await self._allowed.acquire()
        return function(*arguments)

    def allow(self, pieces):
        for _ in range(pieces):
            self._allowed.release()

    async def begun(self, times):
        """Wait until so many reads have begun."""
        async with asyncio.timeout(10):
            for _ in range(times):
                await self._begun.acquire()


@pytest.fixture
def reads(monkeypatch):
    reads = Reads()
    monkeypatch.setattr(files, "CHUNK", PIECE)
    monkeypatch.setattr(files, "work", reads)
    return reads


@pytest.fixture
async def download(alice, model, handler):
    exchange = Exchange(handler, alice, "GET", f"/api/models/{model.id}/versions/0/params/")
    exchange.send(b"", last=True)
    return exchange


@pytest.fixture
def size(model):
    return store.path_of(model.versions.get().blob_id).stat().st_size


async def test_a_download_is_read_piece_by_piece(size, reads, download):
    reads.allow(size)
    await download.finished()

    assert download.status == 200
    assert reads.count == -(-size // PIECE)


async def test_a_download_whose_client_has_gone_is_read_no_further(size, reads, download):
    assert size > 5 * PIECE
    reads.allow(1)
    await reads.begun(2)
    download.disconnect()
    await asyncio.sleep(0)
    reads.allow(size)
    await download.finished()

    assert reads.count == 2, "the one under way, and none after it"


async def test_a_download_whose_client_has_gone_keeps_no_file_open(size, reads, download):
    before = open_files()
    gc.disable()
    try:
        reads.allow(1)
        await reads.begun(2)
        assert len(open_files()) == len(before) + 1
        download.disconnect()
        await asyncio.sleep(0)
        reads.allow(1)
        await download.finished()
        await asyncio.sleep(0)

        assert open_files() == before, "whether or not somebody collects garbage"
    finally:
        gc.enable()


def open_files():
    """Every file of the store that this process holds open."""
    return [file.path for file in psutil.Process().open_files() if "/blobs/" in file.path]


# Uploads on which nothing comes


@pytest.fixture
def impatient(monkeypatch):
    """A client is taken for gone almost at once."""
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.01)


async def test_an_upload_on_which_nothing_comes_is_given_up_and_what_came_is_kept(bob, bobs_task, handler, impatient):
    file = update()
    url = f"/api/tasks/{bobs_task.id}/update/{file.digest}/"
    exchange = Exchange(handler, bob, "PUT", url, {"upload-length": str(len(file))})
    exchange.send(file.content[:100])
    await exchange.finished()

    assert exchange.status is None
    assert uploads._receiving == {}
    assert (await bob.head(url)).headers["Upload-Offset"] == "100"


async def test_a_message_on_which_nothing_comes_is_given_up(bob, handler, impatient):
    exchange = Exchange(handler, bob, "POST", "/api/tasks/next/", {"content-type": "application/json"})
    exchange.send(b'{"instance": ')
    await exchange.finished()

    assert exchange.status is None


async def test_a_slow_line_is_not_a_silent_one(bob, handler, monkeypatch):
    """The time begins anew with every piece: the whole may take as long as it likes."""
    clocks, timeout = [], asyncio.timeout

    def patient(seconds):
        clocks.append(seconds)
        return timeout(None)

    monkeypatch.setattr(asyncio, "timeout", patient)
    exchange = Exchange(handler, bob, "POST", "/api/tasks/next/", {"content-type": "application/json"})
    for byte in b'{"instance": "laptop"}':
        exchange.send(bytes([byte]))
    exchange.send(b"", last=True)
    await exchange.task

    assert exchange.status == 204
    assert clocks.count(body.IDLE_SECONDS) == 23  # a database has clocks of its own


# Messages of people without an account

ENROLL = "/api/clients/enroll/"


def enrolment(size):
    """A message of exactly so many bytes."""
    frame = b'{"code": "0000-0000"%s}'
    return frame % (b" " * (size - len(frame % b"")))


async def test_an_enrolment_of_up_to_4096_bytes_is_read(nobody):
    answer = await nobody.post(ENROLL, content=enrolment(4096), headers={"Content-Type": "application/json"})

    refused(answer, 400, "invitation_invalid")


async def test_an_enrolment_that_announces_more_is_refused_unread(alice, nobody, handler):
    size = {"content-type": "application/json", "content-length": "4097"}
    exchange = Exchange(handler, alice, "POST", ENROLL, size)
    await exchange.finished()

    assert exchange.status == 413
    assert exchange.json["code"] == "too_large"
    assert exchange.asked == 0


async def test_an_enrolment_that_goes_on_for_ever_is_cut_off(alice, handler):
    exchange = Exchange(handler, alice, "POST", ENROLL, {"content-type": "application/json"})
    exchange.send(enrolment(4096))
    exchange.send(b" ")
    exchange.send(b" ")
    await exchange.finished()

    assert exchange.status == 413
    assert exchange.asked == 2, "and no more is asked for"
