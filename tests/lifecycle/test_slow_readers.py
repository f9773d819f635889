"""A client that reads its answer slowly, or not at all, keeps no thread: others need it."""

import asyncio

import pytest
from django.core.signals import request_finished
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

from lifecycle import project
from support.scopes import http_scope


def small(request):
    return HttpResponse("served")


class Stuck:
    """A client that takes the first piece of the body and no more, until it is let go."""

    def __init__(self):
        self.has_some, self._go = asyncio.Event(), asyncio.Event()
        self._wire = project._Wire([])

    async def ask(self, site, url):
        await site.handler(http_scope("GET", url, {"host": "testserver"}), self._wire.receive, self._send)
        return self._wire.answered()

    def let_go(self):
        self._go.set()

    async def _send(self, message):
        if message.get("body"):
            self.has_some.set()
            await self._go.wait()
        await self._wire.send(message)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(3 * 2**20))
    return file


async def test_a_slow_download_leaves_the_only_thread_to_others(serve, file):
    def download(request):
        return FileResponse(file.open("rb"))

    site = serve(path("file/", download), path("small/", small), LIFECYCLE={"THREADS": 1})
    client = Stuck()
    downloading = asyncio.create_task(client.ask(site, "/file/"))
    await client.has_some.wait()

    async with asyncio.timeout(30):
        assert (await site.ask("GET", "/small/")).body == b"served"
    client.let_go()
    assert (await downloading).body == file.read_bytes()


async def test_a_slow_reader_of_what_a_plain_view_answered_leaves_the_only_thread_to_others(serve):
    site = serve(path("one/", small), path("small/", small), LIFECYCLE={"THREADS": 1})
    client = Stuck()
    reading = asyncio.create_task(client.ask(site, "/one/"))
    await client.has_some.wait()

    async with asyncio.timeout(30):
        assert (await site.ask("GET", "/small/")).body == b"served"
    client.let_go()
    assert (await reading).body == b"served"


async def test_a_plain_stream_stays_on_one_thread_for_it_may_have_a_cursor_open(serve):
    def counting(request):
        return StreamingHttpResponse(f"{project.place()}\n" for _ in range(5))

    site = serve(path("", counting))
    answers = await asyncio.gather(*(site.ask() for _ in range(4)))

    assert [len(set(answered.body.split())) for answered in answers] == [1] * 4


async def test_who_listens_to_request_finished_is_called_on_the_thread_of_the_view(serve):
    places = []

    def noting(request):
        places.append(project.place())
        return HttpResponse("noted")

    def finished(**kwargs):
        places.append(project.place())

    site = serve(path("", noting))
    request_finished.connect(finished)
    try:
        await asyncio.gather(*(site.ask() for _ in range(4)))
    finally:
        request_finished.disconnect(finished)

    assert len(places) == 8
    assert all(places.count(place) % 2 == 0 for place in places)
