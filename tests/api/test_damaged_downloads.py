"""Downloads of what a disk has damaged: never a wrong byte, never a mistake of the server's."""

import asyncio
import io
import threading

import numpy as np
import pytest
from httpx import HTTPError

from hansa.server.blobs import serving, store
from hansa.server.blobs.digests import BLOCK
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model, ModelVersion
from support.answers import refused
from support.damage import cut_off, flip_a_bit, take_away
from support.torchfiles import pickled, small_net
from support.work import store_model


@pytest.fixture
def suspected(monkeypatch):
    """The digests of which somebody has said that they should be looked at."""
    raised = []
    monkeypatch.setattr(SUSPICION, "raised", raised.append)
    return raised


async def digest_of(model, number=0):
    return (await read(ModelVersion.objects.get, model_id=model.id, number=number)).blob_id


@pytest.fixture
async def large(alice, tmp_path):
    """A model of three blocks and a bit."""
    params = {"w": np.arange(3 * BLOCK // 4 + 100, dtype=np.float32)}
    return await call(store_model, alice, params, frozenset(), tmp_path)


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, take_away])
async def test_a_damaged_version_is_refused_and_looked_after(alice, model, suspected, harm):
    digest = await digest_of(model)
    harm(digest)

    for url in (f"/api/models/{model.id}/versions/0/params/", f"/api/models/{model.id}/?format=safetensors"):
        answer = await alice.get(url, headers={"Accept": "*/*"})
        if answer.headers["content-type"].startswith("application/json") and answer.status_code == 200:
            continue  # the record, where the address is one
        refused(answer, 503, "blob_damaged", digest)
    assert set(suspected) == {digest}


async def test_damage_behind_the_beginning_breaks_the_answer_instead_of_sending_it(alice, large, suspected):
    digest = await digest_of(large)
    whole = store.path_of(digest).read_bytes()
    flip_a_bit(digest, at=2 * BLOCK + 7)
    received = io.BytesIO()

    async def download():
        async with alice.stream("GET", f"/api/models/{large.id}/versions/0/params/") as answer:
            async for piece in answer.aiter_raw():
                received.write(piece)

    with pytest.raises((HTTPError, store.TornBlobError)):
        await download()

    assert whole.startswith(received.getvalue())
    assert suspected == [digest]


async def test_ranges_are_compared_as_well(alice, large, suspected):
    digest = await digest_of(large)
    whole = store.path_of(digest).read_bytes()
    url = f"/api/models/{large.id}/versions/0/params/"
    for first, last in ((5, 10), (BLOCK - 3, BLOCK + 3), (BLOCK, 2 * BLOCK - 1), (17, 3 * BLOCK + 20)):
        part = await alice.get(url, headers={"Range": f"bytes={first}-{last}"})
        assert (part.status_code, part.content) == (206, whole[first : last + 1])

    flip_a_bit(digest, at=2 * BLOCK + 7)
    assert (await alice.get(url, headers={"Range": "bytes=5-10"})).content == whole[5:11]
    with pytest.raises((HTTPError, store.TornBlobError)):
        await alice.get(url, headers={"Range": f"bytes={2 * BLOCK + 100}-{2 * BLOCK + 200}"})


@pytest.fixture
async def with_archive(alice):
    """A model made from a torch archive, with a preprocessing."""
    files = {"model_file": pickled(small_net()).content, "model_preprocessing_file": pickled(small_net()).content}
    answer = await alice.post("/api/models/", data={"name": "net"}, files=files)
    assert answer.status_code == 201, answer.text
    return await read(Model.objects.get, id=answer.json()["model_id"])


async def test_a_damaged_archive_is_refused(alice, with_archive, suspected):
    flip_a_bit(with_archive.archive_id)

    answer = await alice.get(f"/api/models/{with_archive.id}/", headers={"Accept": "application/octet-stream"})

    refused(answer, 503, "blob_damaged", with_archive.archive_id)
    assert suspected == [with_archive.archive_id]


@pytest.mark.parametrize("harm", [flip_a_bit, take_away])
async def test_a_record_leaves_out_what_is_damaged(alice, with_archive, suspected, harm):
    harm(with_archive.preprocessing_id)

    record = await alice.get(f"/api/models/{with_archive.id}/metadata/")

    assert (record.status_code, record.json()["preprocessing"]) == (200, None)
    refused(await alice.get(f"/api/models/{with_archive.id}/preprocessing/"), 503, "blob_damaged")
    assert set(suspected) == {with_archive.preprocessing_id}


@pytest.mark.parametrize("harm", [None, flip_a_bit])
async def test_what_many_fetch_at_the_same_moment_is_read_once_and_what_is_found_is_everybodys(
    alice, model, suspected, monkeypatch, harm
):
    digest = await digest_of(model)
    content = store.path_of(digest).read_bytes()
    if harm:
        harm(digest)
    everybody_is_here, asked, reads = threading.Event(), [], []
    respond_with, beginning = serving.respond_with, serving._beginning

    async def respond(request, known, **kwargs):
        asked.append(known)
        if len(asked) == 5:
            everybody_is_here.set()
        return await respond_with(request, known, **kwargs)

    def read_it(known):
        reads.append(known)
        assert everybody_is_here.wait(10)
        return beginning(known)

    monkeypatch.setattr(serving, "respond_with", respond)
    monkeypatch.setattr(serving, "_beginning", read_it)
    answers = await asyncio.gather(*(alice.get(f"/api/models/{model.id}/versions/0/params/") for _ in range(5)))

    assert len(reads) == 1
    for answer in answers:
        if harm:
            refused(answer, 503, "blob_damaged", digest)
        else:
            assert answer.content == content
