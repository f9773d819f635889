"""Uploads that break off: what has arrived stays, HEAD tells how much it is, a PUT goes on from there."""

import asyncio

import httpx
import numpy as np
import pytest

from hansa.client import answers
from hansa.client.errors import ApiError, StrangersRefusal
from hansa.protocol.tasks import Upload
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.places import Places
from hansa.server.trainings import uploads
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import tasks
from support.answers import nothing_changes, refused, shown
from support.exchange import Exchange
from support.work import file_of, lease, report_of, start, store_model, update

BIG = 3 * 2**20
"""Bytes of an update that does not arrive in one piece."""


def url(task, file):
    return f"/api/tasks/{task.id}/update/{file.digest}/"


def put(handler, person, task, file, offset=0):
    """Begin to send from `offset`; the rest of the request is the test's."""
    headers = {"upload-offset": str(offset), "upload-length": str(len(file)), "content-length": str(len(file) - offset)}
    return Exchange(handler, person, "PUT", url(task, file), headers)


async def offset_of(person, task, file):
    return int((await person.head(url(task, file))).headers["Upload-Offset"])


async def break_off(handler, person, task, file, after, offset=0):
    """Send some bytes, then lose the connection."""
    exchange = put(handler, person, task, file, offset)
    exchange.send(file.content[offset:after])
    exchange.disconnect()
    await exchange.finished()
    assert exchange.status is None, "nobody is there to be answered"


async def go_on(person, task, file, offset):
    headers = {"Upload-Offset": str(offset), "Upload-Length": str(len(file))}
    return await person.put(url(task, file), content=file.content[offset:], headers=headers)


@pytest.fixture
def big(alice, bob, carol, monkeypatch, tmp_path, make_training, model):
    """A task of Bob's in a training of a model of three megabytes, and an update of it."""
    params = {"w": np.arange(BIG // 4, dtype=np.float32)}
    large = store_model(alice, params, frozenset(), tmp_path)
    training = make_training(bob, carol, model=large)
    start(training)
    return lease(bob), file_of({"w": params["w"] + np.float32(1)}, frozenset())


@pytest.mark.parametrize("after", [1, 100, 300])
async def test_every_byte_that_came_before_the_connection_broke_is_kept(bob, bobs_task, handler, after):
    file = update()

    await break_off(handler, bob, bobs_task, file, after)

    assert await offset_of(bob, bobs_task, file) == after
    shown(await go_on(bob, bobs_task, file, after), Upload)
    assert store.path_of(file.digest).read_bytes() == file.content
    assert not store.partial_path(bobs_task.id, file.digest).exists(), "the partial file has become the blob"
    assert await offset_of(bob, bobs_task, file) == len(file)


async def test_a_large_upload_may_break_off_again_and_again(bob, handler, big):
    task, file = big
    for after in (700_000, 1_500_000, 1_500_001, 2_900_000):
        await break_off(handler, bob, task, file, after, await offset_of(bob, task, file))
        assert await offset_of(bob, task, file) == after

    shown(await go_on(bob, task, file, 2_900_000), Upload)
    assert (await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(file))).status_code == 200


async def test_a_broken_upload_changes_no_row(bob, bobs_task, handler):
    before = await read(Task.objects.values().get, id=bobs_task.id)

    await break_off(handler, bob, bobs_task, update(), 100)

    assert await read(Task.objects.values().get, id=bobs_task.id) == before


async def test_a_body_that_ends_early_is_kept_and_said_to_be_incomplete(bob, bobs_task):
    file = update()
    response = await bob.put(
        url(bobs_task, file), content=file.content[:200], headers={"Upload-Length": str(len(file))}
    )

    refused(response, 409, "upload_incomplete", "200 of", "from that offset")
    assert await offset_of(bob, bobs_task, file) == 200


@pytest.mark.parametrize("offset", [99, 101, 300])
async def test_a_body_that_begins_elsewhere_is_refused_with_the_right_offset(bob, bobs_task, handler, offset):
    file = update()
    await break_off(handler, bob, bobs_task, file, 100)

    async with nothing_changes():
        refused(await go_on(bob, bobs_task, file, offset), 409, "upload_offset", f"begins at {offset}", "100 bytes")
    assert await offset_of(bob, bobs_task, file) == 100


async def test_a_body_from_the_beginning_replaces_what_was_here(bob, bobs_task, handler):
    file = update()
    exchange = put(handler, bob, bobs_task, file)
    exchange.send(b"garbage that belongs to nothing")
    exchange.disconnect()
    await exchange.finished()

    shown(await go_on(bob, bobs_task, file, 0), Upload)


async def test_garbage_that_is_continued_is_found_by_the_digest_and_dropped(bob, bobs_task, handler):
    file = update()
    exchange = put(handler, bob, bobs_task, file)
    exchange.send(b"x" * 50)
    exchange.disconnect()
    await exchange.finished()

    refused(await go_on(bob, bobs_task, file, 50), 409, "digest_mismatch", "from offset 0")
    assert await offset_of(bob, bobs_task, file) == 0
    shown(await go_on(bob, bobs_task, file, 0), Upload)


async def test_all_bytes_here_but_the_answer_lost_an_empty_body_ends_it(bob, bobs_task, handler):
    file = update()
    store.partial_path(bobs_task.id, file.digest).write_bytes(file.content)
    assert await offset_of(bob, bobs_task, file) == len(file)

    shown(await go_on(bob, bobs_task, file, len(file)), Upload)


async def test_each_client_resumes_its_own_upload(bob, carol, bobs_task, handler):
    carols = await call(lease, carol)
    await break_off(handler, bob, bobs_task, update(), 100)

    assert await offset_of(carol, carols, update()) == 0


async def test_a_second_put_ends_the_first(bob, handler, big):
    task, file = big
    first = put(handler, bob, task, file)
    first.send(file.content[:2_000_000])
    await first.until_asked(2)

    second = await go_on(bob, task, file, 0)
    await first.finished()

    shown(second, Upload)
    assert first.status is None
    assert first.task.cancelled()


async def test_of_several_that_reconnect_at_once_only_one_goes_on(bob, handler, big):
    """Two writers on one file could store bytes that do not have the file's digest."""
    task, file = big
    first = put(handler, bob, task, file)
    first.send(file.content[:100])
    await first.until_asked(2)
    rivals = [put(handler, bob, task, file) for _ in range(3)]
    done, going_on = await wait_for_ends(rivals, 2)

    (winner,) = going_on
    winner.send(file.content, last=True)
    await winner.finished()

    assert winner.status == 200
    assert all(exchange.task.cancelled() for exchange in (first, *done))
    assert store.path_of(file.digest).read_bytes() == file.content


async def wait_for_ends(exchanges, count):
    """The exchanges that have ended, once there are so many, and the others."""
    async with asyncio.timeout(10):
        while len(done := [each for each in exchanges if each.task.done()]) < count:
            await asyncio.wait(
                [each.task for each in exchanges if not each.task.done()], return_when=asyncio.FIRST_COMPLETED
            )
    return done, [each for each in exchanges if each not in done]


async def test_bytes_that_move_renew_the_lease(bob, handler, big, clock, monkeypatch):
    task, file = big
    monkeypatch.setattr("hansa.server.trainings.uploads.RENEW_BYTES", 2**20)
    clock.advance(50)
    exchange = put(handler, bob, task, file)
    exchange.send(file.content[: 2**20])
    await exchange.until_asked(2)

    assert ((await read(Task.objects.get, id=task.id)).lease_until - clock.now).total_seconds() == 60

    exchange.disconnect()
    await exchange.finished()


async def test_a_report_before_the_upload_is_complete_is_refused(bob, bobs_task, handler):
    await break_off(handler, bob, bobs_task, update(), 100)

    response = await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(update()))

    refused(response, 409, "upload_incomplete")


async def test_a_task_that_is_over_cannot_be_resumed(bob, bobs_task, handler):
    await break_off(handler, bob, bobs_task, update(), 100)
    await call(tasks.give_back, task_id=bobs_task.id, user_id=bob.user.id, reason="broken", failed=True)

    refused(await go_on(bob, bobs_task, update(), 100), 409, "task_closed")


async def test_a_body_beyond_those_that_are_received_at_once_is_not_read_until_one_of_them_is_done(
    bob, carol, bobs_task, started, handler, monkeypatch
):
    monkeypatch.setattr(uploads, "BODIES", Places(1, seconds=60))
    carols_task = await call(lease, carol)
    first, second = update(1.0), update(2.0)
    receiving = put(handler, bob, bobs_task, first)
    receiving.send(first.content[:100])
    await receiving.until_asked(2)
    waiting = put(handler, carol, carols_task, second)
    waiting.send(second.content, last=True)
    while not uploads._receiving.keys() >= {bobs_task.id, carols_task.id}:  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert waiting.asked == 0

    receiving.send(first.content[100:], last=True)
    await receiving.finished()
    await waiting.finished()
    assert (receiving.status, waiting.status) == (200, 200)


@pytest.mark.parametrize("batch", [2**20, 50], ids=["a body of one batch", "a body of many"])
async def test_who_sends_slowly_has_what_came_written_piece_by_piece_and_nothing_held(
    bob, bobs_task, handler, monkeypatch, batch
):
    """Else the server's memory would grow with the number of its slow clients."""
    monkeypatch.setattr(uploads, "BODIES", Places(1, seconds=0))
    monkeypatch.setattr(uploads, "BATCH", batch)
    sent = update(1.0)
    receiving = put(handler, bob, bobs_task, sent)
    receiving.send(sent.content[:10])
    await receiving.until_asked(2)
    for end in range(20, 60, 10):
        receiving.send(sent.content[end - 10 : end])
        await receiving.until_asked(end // 10 + 1)
    partial = store.partial_path(bobs_task.id, sent.digest)
    assert partial.read_bytes() == sent.content[:50]

    receiving.send(sent.content[50:], last=True)
    await receiving.finished()
    assert receiving.status == 200
    assert (await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(sent))).status_code == 200


async def test_a_place_that_is_over_when_the_last_byte_comes_is_no_reason_to_begin_anew(
    bob, bobs_task, handler, monkeypatch
):
    monkeypatch.setattr(uploads, "BODIES", Places(1, seconds=0))
    sent = update(1.0)
    receiving = put(handler, bob, bobs_task, sent)
    receiving.send(sent.content, last=True)
    await receiving.finished()
    assert receiving.status == 200


async def test_a_refused_question_for_the_offset_is_known_to_be_the_servers_own(bob, bobs_task):
    """An answer to HEAD has no body to say why; a proxy's page must not be taken for it, nor it for a proxy's page."""
    await call(tasks.give_back, task_id=bobs_task.id, user_id=bob.user.id, reason="broken", failed=True)

    answer = await bob.head(url(bobs_task, update()))

    assert (answer.status_code, answer.content) == (409, b"")
    with pytest.raises(ApiError) as refusal:
        answers.refuse(answer)
    assert not isinstance(refusal.value, StrangersRefusal)
    with pytest.raises(StrangersRefusal):
        answers.refuse(httpx.Response(404, headers={"Content-Type": "text/plain"}, request=answer.request))
