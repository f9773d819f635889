"""GET /api/models/<id>/versions/…: the immutable versions of a model, and their bytes."""

import pytest

from hansa.protocol.models import Metric, ModelVersion
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.services import trainings
from support.answers import refused, shown
from support.work import add_up, file_of, lease, settle, small_params, update, upload_and_report


def url(model, rest=""):
    return f"/api/models/{model.id}/versions/{rest}"


@pytest.fixture
def content():
    return file_of(small_params()).content


@pytest.fixture
async def trained(bob, carol, started):
    """The training after its first round: Bob moved all by 1 with 10 examples, Carol by 4 with 20."""
    await upload_and_report(bob, await call(lease, bob), update(1.0), examples=10)
    await upload_and_report(carol, await call(lease, carol), update(4.0), examples=20)
    await call(settle, started)
    await call(add_up, started)
    return started


async def test_version_0_is_the_file_that_was_uploaded(alice, model, content):
    version = shown(await alice.get(url(model, "0/")), ModelVersion)

    assert (version.model, version.number, version.parent) == (str(model.id), 0, None)
    assert (version.digest, version.size) == (file_of(small_params()).digest, len(content))


async def test_a_round_adds_a_version_with_its_lineage(alice, model, trained):
    versions = shown(await alice.get(url(model)), list[ModelVersion])

    assert [version.number for version in versions] == [0, 1]
    assert versions[1].parent == f"{model.id}/0"
    assert versions[1] == shown(await alice.get(url(model, "1/")), ModelVersion)


async def test_the_version_is_the_mean_weighted_by_examples(alice, model, trained):
    response = await alice.get(url(model, "1/params/"))

    assert response.content == update(3.0).content, "(10·1 + 20·4) / 30"


async def test_a_copy_of_a_trained_model_names_the_version_it_began_with(alice, model, trained, make_training):
    copied = await call(lambda: make_training(model=model).model)

    (first,) = shown(await alice.get(url(copied)), list[ModelVersion])
    assert first.parent == f"{model.id}/1"
    assert first.digest == update(3.0).digest


async def test_the_bytes_come_whole_with_their_digest_as_etag(alice, model, content):
    response = await alice.get(url(model, "0/params/"))

    assert (response.status_code, response.content) == (200, content)
    assert response.headers["ETag"] == f'"{file_of(small_params()).digest}"'
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Content-Type"] == "application/vnd.safetensors"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Disposition"] == f'attachment; filename="model-{model.id}-0.safetensors"'


async def test_head_says_the_same_without_the_bytes(alice, model, content):
    get, head = await alice.get(url(model, "0/params/")), await alice.head(url(model, "0/params/"))

    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(get.headers)


async def test_large_files_come_in_pieces(alice, model, content, monkeypatch):
    monkeypatch.setattr("hansa.server.lifecycle.files.CHUNK", 7)

    assert (await alice.get(url(model, "0/params/"))).content == content


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
async def test_who_has_the_version_gets_it_not_again(alice, model, form):
    tag = form.format(file_of(small_params()).digest)
    response = await alice.get(url(model, "0/params/"), headers={"If-None-Match": tag})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == f'"{file_of(small_params()).digest}"'


async def test_who_has_another_version_gets_this_one(alice, model, content):
    response = await alice.get(url(model, "0/params/"), headers={"If-None-Match": '"abc"'})

    assert (response.status_code, response.content) == (200, content)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("0-9", 0, 10), ("5-", 5, None), ("-7", -7, None), ("3-999999999", 3, None), ("-999999", 0, None)],
)
async def test_a_range_of_the_bytes_can_be_asked_for(alice, model, content, asked, start, stop):
    response = await alice.get(url(model, "0/params/"), headers={"Range": f"bytes={asked}"})

    wanted = content[start:stop]
    first = len(content) + start if start < 0 else start
    assert (response.status_code, response.content) == (206, wanted)
    assert response.headers["Content-Range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(content)}"
    assert response.headers["Content-Length"] == str(len(wanted))


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=-", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b", "bytes=--1"])
async def test_a_range_that_is_not_understood_is_answered_with_the_whole(alice, model, content, asked):
    response = await alice.get(url(model, "0/params/"), headers={"Range": asked})

    assert (response.status_code, response.content) == (200, content)


@pytest.mark.parametrize("asked", ["bytes=99999-", "bytes=-0", f"bytes={10**30}-"])
async def test_a_range_outside_the_bytes_is_refused_with_their_number(alice, model, content, asked):
    response = await alice.get(url(model, "0/params/"), headers={"Range": asked})

    refused(response, 416, "range_not_satisfiable", str(len(content)))
    assert response.headers["Content-Range"] == f"bytes */{len(content)}"


async def test_a_range_of_another_version_is_answered_with_the_whole(alice, model, content):
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert (await alice.get(url(model, "0/params/"), headers=headers)).content == content

    headers["If-Range"] = f'"{file_of(small_params()).digest}"'
    assert (await alice.get(url(model, "0/params/"), headers=headers)).content == content[:10]


@pytest.mark.parametrize("rest", ["1/", "1/params/", f"{10**30}/", f"{2**63}/params/"])
async def test_a_version_that_does_not_exist_is_told_with_those_that_do(alice, model, rest):
    refused(await alice.get(url(model, rest)), 404, "not_found", "no version", "0 to 0")


@pytest.mark.parametrize("rest", ["", "0/", "0/params/"])
async def test_participants_may_fetch_what_they_train_and_nobody_else_may(bob, mallory, root, model, training, rest):
    for person in (bob, root):
        assert (await person.get(url(model, rest))).status_code == 200
    refused(await mallory.get(url(model, rest)), 404, "not_found", "not yours to see")

    await call(trainings.remove_clients, training_id=training.id, clients=[bob.user])
    refused(await bob.get(url(model, rest)), 404, "not_found", "not yours to see")


async def test_metrics_are_listed_oldest_first(alice, bob, carol, model, trained):
    metrics = shown(await alice.get(f"/api/models/{model.id}/metrics/"), list[Metric])

    assert [(metric.reporter, metric.key, metric.value, metric.step, metric.kind) for metric in metrics] == [
        (bob.id, "loss", 0.5, 1, "train"),
        (carol.id, "loss", 0.5, 1, "train"),
    ]
    assert {metric.model for metric in metrics} == {str(model.id)}


async def test_a_participant_sees_its_own_metrics(bob, model, trained):
    metrics = shown(await bob.get(f"/api/models/{model.id}/metrics/"), list[Metric])

    assert {metric.reporter for metric in metrics} == {bob.id}


async def test_a_stranger_sees_no_metrics(mallory, model, trained):
    refused(await mallory.get(f"/api/models/{model.id}/metrics/"), 404, "not_found")
