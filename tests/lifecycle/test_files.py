"""Files as answers: whole, by range, not again; read in pieces and closed whatever happens."""

import asyncio
import io
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.http import StreamingHttpResponse
from django.test import RequestFactory
from django.utils.http import http_date
from hypothesis import given
from hypothesis import strategies as st

from hansa.server.lifecycle import files
from hansa.server.lifecycle.files import RangedFile

CONTENT = bytes(range(256)) * 4
ETAG = '"one"'
CHANGED = datetime(2026, 3, 2, 9, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def on_offer(source, **changes):
    described = {"size": len(CONTENT), "etag": ETAG, "media_type": "application/x-test", "last_modified": CHANGED}
    return RangedFile(source=source, **{**described, **changes})


def ask(file, method="GET", **headers):
    request = RequestFactory().generic(method, "/", headers={name.replace("_", "-"): v for name, v in headers.items()})
    return file.respond(request)


async def body(response):
    if not response.streaming:
        return response.content
    pieces = [piece async for piece in response]
    response.close()
    return b"".join(pieces)


async def test_the_whole_comes_with_what_is_known_of_it(path):
    response = ask(on_offer(path, filename="modèle.bin", headers={"Cache-Control": "private"}))

    assert response.status_code == 200
    assert dict(response.headers) == {
        "Cache-Control": "private",
        "ETag": ETAG,
        "Last-Modified": "Mon, 02 Mar 2026 09:00:00 GMT",
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment; filename*=utf-8''mod%C3%A8le.bin",
        "Content-Length": str(len(CONTENT)),
        "Content-Type": "application/x-test",
    }
    assert await body(response) == CONTENT


async def test_head_says_the_same_and_opens_nothing(path):
    get = ask(on_offer(path))
    path.unlink()
    head = ask(on_offer(path), "HEAD")

    assert (head.status_code, dict(head.headers)) == (200, dict(get.headers))
    assert await body(head) == b""


async def test_head_knows_no_ranges(path):
    head = ask(on_offer(path), "HEAD", Range="bytes=0-1")

    assert (head.status_code, head["Content-Length"]) == (200, str(len(CONTENT)))


@given(first=st.none() | st.integers(0, 1100), last=st.none() | st.integers(0, 1100))
def test_a_range_is_what_slicing_says(first, last):
    """Against Python's own slices, over every kind of range there is."""
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    response = ask(on_offer(lambda: io.BytesIO(CONTENT)), Range=asked)

    if first is None and last is None:
        wanted, status = CONTENT, 200
    elif first is None:
        wanted = CONTENT[-last:] if last else b""
        status = 206 if wanted else 416
    elif last is not None and last < first:
        wanted, status = CONTENT, 200
    else:
        wanted = CONTENT[first:] if last is None else CONTENT[first : last + 1]
        status = 206 if wanted else 416
    assert response.status_code == status
    if status == 416:
        assert response["Content-Range"] == f"bytes */{len(CONTENT)}"
    else:
        assert asyncio.run(body(response)) == wanted
        assert response["Content-Length"] == str(len(wanted))
    if status == 206:
        shown, _, total = response["Content-Range"].removeprefix("bytes ").partition("/")
        begin, _, end = shown.partition("-")
        assert (int(end) - int(begin) + 1, total) == (len(wanted), str(len(CONTENT)))
        assert CONTENT[int(begin) : int(end) + 1] == wanted


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,4-5", "lines=0-1", "bytes=a-b", "bytes=--1", "bytes 0-1", "0-1", "bytes=1-²", f"bytes={9**999}-"],
)
async def test_what_is_not_one_range_of_bytes_is_answered_with_the_whole(path, asked):
    response = ask(on_offer(path), Range=asked)

    assert (response.status_code, await body(response)) == (200, CONTENT)


async def test_an_empty_file_has_no_ranges(tmp_path):
    (tmp_path / "empty").touch()
    empty = on_offer(tmp_path / "empty", size=0)

    assert await body(ask(empty)) == b""
    assert ask(empty, Range="bytes=0-").status_code == 416
    assert ask(empty, Range="bytes=-5").status_code == 416


async def test_a_range_outside_is_refused_with_the_size(path):
    response = ask(on_offer(path), Range="bytes=1024-")

    assert (response.status_code, response["Content-Range"]) == (416, "bytes */1024")
    assert b'"code": "range_not_satisfiable"' in response.content
    assert b"'bytes=1024-' lies outside the file's 1,024 bytes" in response.content


@pytest.mark.parametrize("tags", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', '"a,b", "one"', "*"])
def test_who_has_it_does_not_get_it_again(path, tags):
    response = ask(on_offer(path), If_None_Match=tags, Range="bytes=0-1")

    assert (response.status_code, response.content, response["ETag"]) == (304, b"", ETAG)
    assert "Content-Type" not in response.headers


def test_a_tag_says_more_than_a_date(path):
    assert ask(on_offer(path), If_None_Match='"other"', If_Modified_Since=http_date()).status_code == 200


@pytest.mark.parametrize(("later", "status"), [(-1, 200), (0, 304), (1, 304)])
def test_who_has_it_since_its_last_change_does_not_get_it_again(path, later, status):
    since = http_date((CHANGED + timedelta(seconds=later)).timestamp())

    assert ask(on_offer(path), If_Modified_Since=since).status_code == status


@pytest.mark.parametrize("since", ["yesterday", "", "Mon, 99 Mar 2026 09:00:00 GMT"])
def test_a_date_that_is_none_does_not_matter(path, since):
    assert ask(on_offer(path), If_Modified_Since=since).status_code == 200


@pytest.mark.parametrize(
    ("condition", "etag", "status"),
    [
        (ETAG, ETAG, 206),
        ('"other"', ETAG, 200),
        ('W/"one"', ETAG, 200),
        ('W/"one"', 'W/"one"', 200),
        (ETAG, 'W/"one"', 200),
        ("Mon, 02 Mar 2026 09:00:00 GMT", ETAG, 206),
        ("Mon, 02 Mar 2026 09:00:01 GMT", ETAG, 200),
        ("yesterday", ETAG, 200),
    ],
)
def test_only_the_very_same_file_is_continued(path, condition, etag, status):
    assert ask(on_offer(path, etag=etag), Range="bytes=5-", If_Range=condition).status_code == status


def test_without_a_date_no_date_matches(path):
    plain = on_offer(path, last_modified=None)

    assert "Last-Modified" not in ask(plain).headers
    assert ask(plain, If_Modified_Since=http_date()).status_code == 200
    assert ask(plain, Range="bytes=5-", If_Range=http_date()).status_code == 200


def test_a_server_in_front_sends_the_bytes_where_there_is_one(path):
    """Ranges are its business then; what the client has is known here."""
    accelerated = on_offer(path, accel_uri="/internal/ab/cd")
    response = ask(accelerated, Range="bytes=0-1")

    assert (response.status_code, response.content) == (200, b"")
    assert response["X-Accel-Redirect"] == "/internal/ab/cd"
    assert (response["ETag"], response["Content-Type"]) == (ETAG, "application/x-test")
    assert ask(accelerated, If_None_Match=ETAG).status_code == 304


class Opened(io.BytesIO):
    """Notes who reads, and how much at a time."""

    def __init__(self, content):
        super().__init__(content)
        self.reads = []

    def read(self, size=-1, /):
        self.reads.append((threading.current_thread().name, size))
        return super().read(size)


async def test_it_is_read_in_pieces_on_threads_and_closed(monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 400)
    opened = Opened(CONTENT)
    response = ask(on_offer(lambda: opened), Range="bytes=10-")

    assert await body(response) == CONTENT[10:]
    assert [size for _, size in opened.reads] == [400, 400, 214]
    assert {name.rpartition("_")[0] for name, _ in opened.reads} == {"hansa-worker"}
    assert opened.closed


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("method", "headers", "tells"),
    [
        ("GET", {}, True),
        ("GET", {"Range": "bytes=10-"}, True),
        ("GET", {"Range": "bytes=0-9"}, False),
        ("GET", {"If_None_Match": ETAG}, True),
        ("GET", {"Range": "bytes=5000-"}, False),
        ("HEAD", {}, False),
        ("HEAD", {"If_None_Match": ETAG}, False),
    ],
)
async def test_it_tells_when_somebody_has_the_last_byte(path, method, headers, tells, in_memory):
    told = []
    response = ask(on_offer(CONTENT if in_memory else path, on_sent=lambda: told.append(True)), method, **headers)
    if response.streaming:
        assert told == [], "nothing has been read yet"
    await body(response)

    assert told == [True] * tells


async def test_it_is_closed_when_nobody_wants_the_rest(monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 400)
    opened = Opened(CONTENT)
    response = ask(on_offer(lambda: opened))
    await anext(aiter(response))
    response.close()

    assert (len(opened.reads), opened.closed) == (1, True)


async def test_a_file_that_is_shorter_than_announced_does_not_look_whole(path):
    response = ask(on_offer(path, size=len(CONTENT) + 1))

    with pytest.raises(EOFError, match="ends at byte 1,024; 1,025 bytes were announced"):
        await body(response)


async def test_a_middleware_may_wrap_the_content(path):
    response = ask(on_offer(path))
    assert isinstance(response, StreamingHttpResponse)
    inner = response.streaming_content

    async def doubled():
        async for piece in inner:
            yield piece * 2

    response.streaming_content = doubled()
    assert await body(response) == CONTENT * 2
