"""PUT and HEAD /api/tasks/<id>/update/<sha256>/: the bytes of an update that arrives whole."""

from uuid import UUID

import numpy as np
import pytest
from safetensors.numpy import save

from hansa.protocol.tasks import Upload
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import tasks, trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.exchange import Exchange
from support.work import File, lease, report_of, settle, small_params, start, update, upload


def url(task, file):
    return f"/api/tasks/{task.id}/update/{file.digest}/"


async def put(person, task, file, content=None, **headers):
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return await person.put(url(task, file), content=file.content if content is None else content, headers=named)


async def offset_of(person, task, file):
    answer = await person.head(url(task, file))
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


async def test_the_update_is_stored_under_its_digest(bob, bobs_task):
    file = update()

    answer = shown(await put(bob, bobs_task, file), Upload)

    assert answer == Upload(digest=file.digest, size=len(file))
    assert store.path_of(file.digest).read_bytes() == file.content
    blob = await read(Blob.objects.get, sha256=file.digest)
    assert (blob.size, len(blob.checksums)) == (len(file), 8)


async def test_the_task_knows_its_update_and_lives_for_another_minute(bob, bobs_task, clock):
    clock.advance(50)

    await put(bob, bobs_task, update())

    row = await read(Task.objects.get, id=bobs_task.id)
    assert (row.uploaded_id, row.uploaded_at, row.state) == (update().digest, clock.now, "leased")
    assert (row.lease_until - clock.now).total_seconds() == 60
    assert row.uploaded_norm == pytest.approx(3.0)


async def test_an_upload_alone_does_not_count(alice, bob, bobs_task):
    await put(bob, bobs_task, update())

    shown_round = (await alice.get(f"/api/trainings/{bobs_task.round.training_id}/rounds/1/")).json()
    assert (shown_round["reported"], [task["digest"] for task in shown_round["tasks"]]) == (0, [None, None])


async def test_nothing_is_here_before_the_first_byte(bob, bobs_task):
    assert await offset_of(bob, bobs_task, update()) == 0


async def test_the_same_update_may_be_sent_again(bob, bobs_task):
    first = await put(bob, bobs_task, update())

    assert (await put(bob, bobs_task, update())).content == first.content


async def test_a_client_that_has_sent_it_all_need_not_send_it_again(bob, bobs_task):
    """It was killed between the upload and its own note of it."""
    file = update()
    await put(bob, bobs_task, file)

    assert await offset_of(bob, bobs_task, file) == len(file)
    again = await put(bob, bobs_task, file, b"", Upload_Offset=len(file), Upload_Length=len(file))

    assert shown(again, Upload) == Upload(digest=file.digest, size=len(file))
    assert not store.partial_path(bobs_task.id, file.digest).exists()


async def test_an_update_that_another_client_has_sent_is_still_received_and_compared(bob, carol, bobs_task):
    carols = await call(lease, carol)
    await upload(bob, bobs_task, update())
    assert await offset_of(carol, carols, update()) == 0, "what others have sent is not told"

    wrong = b"x" * len(update())
    refused(await put(carol, carols, update(), wrong), 409, "digest_mismatch")
    assert (await read(Task.objects.get, id=carols.id)).uploaded is None

    shown(await put(carol, carols, update()), Upload)
    assert (await carol.post(f"/api/tasks/{carols.id}/report/", json=report_of(update()))).status_code == 200


async def test_a_file_laid_out_otherwise_is_an_update_as_well(bob, bobs_task):
    """Any valid safetensors file counts, not only one in our canonical form."""
    file = File(save(small_params(1.0)))
    assert file.content != update().content

    shown(await put(bob, bobs_task, file), Upload)


async def test_bytes_of_another_digest_are_dropped_and_may_be_sent_again(bob, bobs_task):
    file, other = update(), update(2.0)

    async with nothing_changes():
        detail = refused(await put(bob, bobs_task, file, other.content), 409, "digest_mismatch")
        assert file.digest in detail
        assert other.digest in detail
    assert await offset_of(bob, bobs_task, file) == 0

    shown(await put(bob, bobs_task, file), Upload)


@pytest.mark.parametrize(
    ("replaced", "code", "sentence"),
    [
        (
            {"fc__weight": np.zeros((2, 3), np.float32)},
            "spec_mismatch",
            "update has shape (2, 3) for 'fc.weight'; the model has (3, 2)",
        ),
        (
            {"fc__weight": np.zeros((3, 2), np.float64)},
            "spec_mismatch",
            "update has dtype float64 for 'fc.weight'; the model has float32",
        ),
        ({"fc__bias": None}, "spec_mismatch", "update lacks 'fc.bias', which the model has"),
        (
            {"extra": np.zeros(1, np.float32)},
            "spec_mismatch",
            "update holds 'extra', which the model does not have",
        ),
        ({"fc__bias": np.float32([0, np.nan, 0])}, "not_finite", "'fc.bias' holds nan at flat index 1"),
        (
            {"norm__running_mean": np.float32([0, 0, -np.inf])},
            "not_finite",
            "'norm.running_mean' holds -inf at flat index 2",
        ),
    ],
)
async def test_an_update_that_does_not_fit_the_model_is_refused_with_the_place(
    bob, bobs_task, replaced, code, sentence
):
    file = update(**replaced)

    async with nothing_changes():
        refused(await put(bob, bobs_task, file), 422, code, sentence)
    shown(await put(bob, bobs_task, update()), Upload)


def header_bomb(header: bytes, data: bytes = b"") -> File:
    return File(len(header).to_bytes(8, "little") + header + data)


BOMBS = {
    "nothing at all": File(b""),
    "not safetensors": File(b"PK\x03\x04" + b"\x00" * 200),
    "a header of ten gigabytes": File((10 * 2**30).to_bytes(8, "little") + b"{}"),
    "a header longer than the file": File((500).to_bytes(8, "little") + b'{"fc.bias":{"dtype":"F32"}}'),
    "no JSON": header_bomb(b"not json"),
    "thousands of arrays": header_bomb(
        b"{%s}" % b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(1000))
    ),
    "an array that comes twice": header_bomb(
        b'{"fc.bias":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"fc.bias":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"\0",
    ),
    "arrays that overlap": header_bomb(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
        b"\0" * 6,
    ),
    "a shape beyond all memory": header_bomb(
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', b"\0" * 4
    ),
    "a negative shape": header_bomb(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"\0" * 4),
    "deep nesting": header_bomb(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "cut off": File(update().content[:-5]),
    "too long": File(update().content + b"\0"),
}


@pytest.mark.parametrize("file", BOMBS.values(), ids=BOMBS)
async def test_a_file_that_is_no_model_file_is_refused(bob, bobs_task, file):
    async with nothing_changes():
        response = await put(bob, bobs_task, file)
        assert response.json()["code"] in ("bad_model_file", "spec_mismatch")
        assert response.status_code == 422


async def test_a_file_larger_than_any_update_is_refused_before_a_byte_is_read(bob, bobs_task, handler):
    headers = {"content-length": str(10 * 2**30)}
    exchange = Exchange(handler, bob, "PUT", url(bobs_task, update()), headers)
    async with nothing_changes():
        await exchange.finished()

    assert (exchange.status, exchange.json["code"], exchange.asked) == (413, "too_large", 0)
    assert "10,737,418,240 bytes" in exchange.json["detail"]


async def test_an_answer_before_the_end_of_the_body_ends_the_connection(bob, carol, bobs_task, handler):
    """Else a client would send its next request into what it takes for an open line."""
    refusal = await put(carol, bobs_task, update())
    assert (refusal.status_code, refusal.headers["Connection"]) == (404, "close")
    exchange = Exchange(handler, carol, "PUT", url(bobs_task, update()), {"transfer-encoding": "chunked"})
    await exchange.finished()
    assert exchange.headers["connection"] == "close"

    for answer in (await put(bob, bobs_task, update()), await bob.get("/api/users/myself/")):
        assert "Connection" not in answer.headers


async def test_a_body_longer_than_announced_is_cut_off(bob, bobs_task, handler):
    file = update()
    exchange = Exchange(handler, bob, "PUT", url(bobs_task, file), {"upload-length": str(len(file))})
    exchange.send(file.content + b"more", last=True)
    await exchange.finished()

    assert (exchange.status, exchange.json["code"]) == (413, "too_large")


async def test_a_body_announced_longer_than_the_update_is_refused(bob, bobs_task):
    async with nothing_changes():
        response = await put(bob, bobs_task, update(), update().content + b"more", Upload_Length=len(update()))
        refused(response, 413, "too_large", "only")


async def test_a_body_of_unknown_length_needs_the_length_of_the_update(bob, bobs_task, handler):
    exchange = Exchange(handler, bob, "PUT", url(bobs_task, update()))
    exchange.send(update().content, last=True)
    async with nothing_changes():
        await exchange.finished()

    assert exchange.status == 400
    assert "Upload-Length" in exchange.json


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Length"])
@pytest.mark.parametrize("value", ["-1", "1.5", "many", "", "9" * 19])
async def test_a_header_that_is_not_a_number_of_bytes_is_refused(bob, bobs_task, name, value):
    async with nothing_changes():
        refused_field(await put(bob, bobs_task, update(), **{name: value}), name, "number of bytes")


async def test_an_offset_behind_the_end_is_refused(bob, bobs_task):
    async with nothing_changes():
        refused_field(await put(bob, bobs_task, update(), Upload_Offset=9, Upload_Length=8), "Upload-Offset", "9", "8")


@pytest.mark.parametrize("digest", ["abc", "A" * 64, "g" * 64, "a" * 65])
async def test_a_name_that_is_no_digest_is_refused(bob, bobs_task, digest):
    path = f"/api/tasks/{bobs_task.id}/update/{digest}/"
    async with nothing_changes():
        refused_field(await bob.put(path, content=b"x"), "digest", "64 lower-case hex digits")
        assert (await bob.head(path)).status_code == 400


async def test_another_clients_task_does_not_exist_for_one(carol, alice, root, bobs_task):
    async with nothing_changes():
        for person in (carol, alice, root):
            refused(await put(person, bobs_task, update()), 404, "not_found", str(bobs_task.id), "not yours")
            assert (await person.head(url(bobs_task, update()))).status_code == 404


async def test_an_unknown_task_does_not_exist(bob, bobs_task):
    bobs_task.id = UUID(int=0)

    refused(await put(bob, bobs_task, update()), 404, "not_found")


async def test_an_evaluation_takes_no_update(bob, evaluating):
    task = await call(lease, bob)

    async with nothing_changes():
        refused(await put(bob, task, update()), 404, "not_found", "with a file for a result")


async def test_a_task_that_was_not_leased_takes_no_update(bob, started):
    offered = await read(Task.objects.get, participation__client=bob.user)

    async with nothing_changes():
        refused(await put(bob, offered, update()), 409, "wrong_state", "not leased")


async def test_a_closed_round_takes_no_update_and_reads_none(bob, carol, make_training, handler):
    training = await call(lambda: start(make_training(bob, carol, closing={"quorum": 1})))
    task, carols = await call(lease, bob), await call(lease, carol)
    await upload(carol, carols, update())
    await carol.post(f"/api/tasks/{carols.id}/report/", json=report_of(update()))
    await call(settle, training)

    exchange = Exchange(handler, bob, "PUT", url(task, update()), {"content-length": str(len(update()))})
    await exchange.finished()

    assert (exchange.status, exchange.json["code"], exchange.asked) == (409, "round_closed", 0)


async def test_a_round_that_closes_while_the_update_arrives_does_not_take_it(bob, bobs_task, handler, clock):
    file = update()
    exchange = Exchange(handler, bob, "PUT", url(bobs_task, file), {"content-length": str(len(file))})
    exchange.send(file.content[:100])
    await exchange.until_asked(2)
    await call(trainings.cancel, training_id=bobs_task.round.training_id, now=clock.now)
    exchange.send(file.content[100:], last=True)
    await exchange.finished()

    assert exchange.status == 409
    assert (await read(Task.objects.get, id=bobs_task.id)).uploaded is None
    assert not await read(Blob.objects.filter(sha256=file.digest).exists)


async def test_a_failed_task_takes_no_update(bob, bobs_task):
    await call(tasks.give_back, task_id=bobs_task.id, user_id=bob.user.id, reason="broken", failed=True)

    async with nothing_changes():
        refused(await put(bob, bobs_task, update()), 409, "task_closed", "broken")


async def test_a_client_that_was_given_up_may_still_upload(bob, carol, clock, started):
    task = await call(lease, bob)
    clock.advance(30)
    await call(lease, carol)
    clock.advance(31)
    await call(settle, started)

    shown(await put(bob, task, update()), Upload)


async def test_arrays_that_are_one_in_the_model_must_be_one_in_the_update(bob, bobs_task):
    model_id = bobs_task.round.training.model_id
    await call(Model.objects.filter(id=model_id).update, ties=[["fc.bias", "norm.running_mean"]])
    torn, whole = update(), update(fc__bias=small_params(1.0)["norm.running_mean"])

    async with nothing_changes():
        refused(await put(bob, bobs_task, torn), 422, "spec_mismatch", "'fc.bias', 'norm.running_mean'", "one array")
    shown(await put(bob, bobs_task, whole), Upload)
