"""POST /api/models/<id>/metrics/: what older clients measured of a model, by forms and as JSON."""

import base64
import json
from urllib.parse import urlencode

import pytest

from hansa.protocol.models import Accepted, Metric
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Metric as Row
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.exchange import Exchange
from support.work import add_up, lease, settle, update, upload_and_report


def url(model):
    return f"/api/models/{model.id}/metrics/"


def urlencoded(*pairs):
    return {"content": urlencode(pairs), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


LOSS_AND_NOTE = [
    ("metric_names", "loss"),
    ("metric_names", "note"),
    ("metric_values", "0.25"),
    ("metric_values", "größer"),
]


@pytest.fixture(params=["urlencoded", "multipart", "JSON", "brackets"])
def body(request):
    """A number and a text, in each way in which they may come."""
    return {
        "urlencoded": urlencoded(*LOSS_AND_NOTE),
        "multipart": {"files": [(name, (None, value)) for name, value in LOSS_AND_NOTE]},
        "JSON": {"json": {"metric_names": ["loss", "note"], "metric_values": [0.25, "größer"]}},
        "brackets": urlencoded(*[(f"{name}[]", value) for name, value in LOSS_AND_NOTE]),
    }[request.param]


async def test_numbers_are_numbers_and_the_rest_is_kept_as_text(alice, model, body):
    accepted = shown(await alice.post(url(model), **body), Accepted, 201)

    assert accepted == Accepted(detail="Model Metrics Upload Accepted", model_id=str(model.id))
    loss, note = shown(await alice.get(url(model)), list[Metric])
    assert (loss.key, loss.value, loss.value_float, loss.value_binary) == ("loss", 0.25, 0.25, None)
    assert (note.key, note.value, note.value_float) == ("note", None, None)
    assert base64.b64decode(note.value_binary).decode() == "größer"
    assert {(each.identifier, each.step, each.model, each.reporter, each.kind) for each in (loss, note)} == {
        (None, 0, str(model.id), alice.id, "evaluate")
    }


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "", "0,5", "zehn"])
async def test_what_is_no_finite_number_is_text(alice, model, text):
    await alice.post(url(model), **urlencoded(("metric_names", "x"), ("metric_values", text)))

    (metric,) = shown(await alice.get(url(model)), list[Metric])
    assert (metric.value_float, base64.b64decode(metric.value_binary).decode()) == (None, text)


async def test_the_step_is_the_round_that_is_behind_the_model(alice, bob, carol, model, started):
    model.first_round = 10
    await call(model.save)
    await bob.post(url(model), **urlencoded(*LOSS_AND_NOTE[::2]))
    for client, add in ((bob, 1.0), (carol, 4.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, started)
    await bob.post(url(model), **urlencoded(*LOSS_AND_NOTE[::2]))
    await call(add_up, started)
    await bob.post(url(model), **urlencoded(*LOSS_AND_NOTE[::2]))

    posted = await read(lambda: list(Row.objects.filter(kind="evaluate").values_list("step", flat=True)))
    assert posted == [0, 1], "while the first round is adding up it is not behind the model yet"
    metrics = shown(await alice.get(url(model)), list[Metric])
    assert [each.step for each in metrics if each.kind == "evaluate"] == [10, 11]
    assert {each.step for each in metrics if each.kind == "train"} == {11}


async def test_what_was_measured_in_training_and_evaluation_is_shown_once_unless_a_kind_is_asked_for(
    alice, bob, carol, model, started
):
    for client, add in ((bob, 1.0), (carol, 4.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, started)
    await call(add_up, started)
    await bob.post(url(model), **urlencoded(*LOSS_AND_NOTE[::2]))

    async def seen(query):
        return [(each.reporter, each.kind) for each in shown(await alice.get(url(model) + query), list[Metric])]

    assert await seen("") == [(carol.id, "train"), (bob.id, "evaluate")]
    assert await seen("?kind=train") == [(bob.id, "train"), (carol.id, "train")]
    assert await seen("?kind=evaluate") == [(bob.id, "evaluate")]
    refused_field(await alice.get(url(model) + "?kind=both"), "kind")


async def test_the_same_again_replaces_and_other_names_join(alice, model):
    for names, values in ((["a", "b"], [1.0, 2.0]), (["b", "c"], ["text", 3.0])):
        await alice.post(url(model), json={"metric_names": names, "metric_values": values})

    metrics = shown(await alice.get(url(model)), list[Metric])
    assert {metric.key: metric.value for metric in metrics} == {"a": 1.0, "b": None, "c": 3.0}


async def test_of_a_name_that_comes_twice_the_last_counts(alice, model):
    await alice.post(url(model), json={"metric_names": ["a", "a"], "metric_values": [1.0, 2.0]})

    (metric,) = shown(await alice.get(url(model)), list[Metric])
    assert metric.value == 2.0


async def test_how_many_examples_were_measured_may_be_said(alice, model):
    fields = (("metric_names", "a"), ("metric_values", "1"), ("sample_size", "250"))
    await alice.post(url(model), **urlencoded(*fields))

    assert (await read(Row.objects.get)).num_examples == 250


WRONG = {
    "nothing": ([], "metric_names", "as many of one as of the other"),
    "no values": ([("metric_names", "a")], "metric_values", "1 names and 0 values"),
    "no names": ([("metric_values", "1")], "metric_names", "No names"),
    "another number": ([*LOSS_AND_NOTE, ("metric_values", "3")], "metric_values", "2 names and 3 values"),
    "an empty name": ([("metric_names", ""), ("metric_values", "1")], "metric_names", "1 to 32"),
    "a long name": ([("metric_names", "a" * 33), ("metric_values", "1")], "metric_names", "1 to 32"),
    "an unprintable name": ([("metric_names", "a\0"), ("metric_values", "1")], "metric_names", "printable"),
    "a long text": ([("metric_names", "a"), ("metric_values", "ä" * 2049)], "metric_values", "4,096 bytes"),
    "too many": ([("metric_names", "a"), ("metric_values", "1")] * 65, "metric_names", "at most 64"),
    "no examples": ([*LOSS_AND_NOTE, ("sample_size", "0")], "sample_size", "from 1 to"),
    "examples in words": ([*LOSS_AND_NOTE, ("sample_size", "many")], "sample_size", "'many'"),
    "half an example": ([*LOSS_AND_NOTE, ("sample_size", "1.5")], "sample_size", "'1.5'"),
}


@pytest.mark.parametrize(("pairs", "field", "words"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_said_by_field_and_nothing_is_kept(alice, model, pairs, field, words):
    async with nothing_changes():
        refused_field(await alice.post(url(model), **urlencoded(*pairs)), field, words)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "metric_names"),
        ({"metric_names": "a", "metric_values": [1]}, "metric_names"),
        ({"metric_names": ["a"], "metric_values": [None]}, "metric_values[0]"),
        ({"metric_names": ["a"], "metric_values": [10**400]}, "metric_values[0]"),
        ({"metric_names": ["a"], "metric_values": [1], "metric_units": ["s"]}, "metric_units"),
        ({"metric_names": ["a"], "metric_values": [1], "sample_size": -1}, "sample_size"),
    ],
)
async def test_what_is_wrong_in_json_is_said_by_field(alice, model, message, field):
    async with nothing_changes():
        response = await alice.post(
            url(model), content=json.dumps(message), headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 400, response.text
        assert field in response.json()


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
async def test_another_media_type_is_refused(alice, model, content_type):
    response = await alice.post(url(model), content=b"loss=1", headers={"Content-Type": content_type})

    refused(response, 415, "unsupported_media_type")


async def test_a_body_of_megabytes_is_refused_before_it_is_read(alice, model, handler):
    headers = {"content-type": "application/x-www-form-urlencoded", "content-length": str(2**20 + 1)}
    exchange = Exchange(handler, alice, "POST", url(model), headers)
    await exchange.finished()

    assert (exchange.status, exchange.json["code"], exchange.asked) == (413, "too_large", 0)


async def test_a_form_of_thousands_of_fields_is_refused(alice, model):
    response = await alice.post(url(model), **urlencoded(*[("metric_names", "a")] * 2000))

    refused_field(response, "non_field_errors", "too many fields")


async def test_bytes_that_are_no_text_are_taken_as_some(alice, model):
    content = b"metric_names=a&metric_values=%FF%00%ED%A0%80"
    response = await alice.post(
        url(model), content=content, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert response.status_code == 201


async def test_the_owner_the_actor_and_the_participants_report_and_nobody_else(
    alice, bob, mallory, nobody, root, training, model
):
    body = urlencoded(*LOSS_AND_NOTE)
    for person in (alice, bob, root):
        shown(await person.post(url(model), **body), Accepted, 201)
    async with nothing_changes():
        refused(await mallory.post(url(model), **body), 404, "not_found")
        assert (await nobody.post(url(model), **body)).status_code == 401
    await call(trainings.remove_clients, training_id=training.id, clients=[bob.user])
    async with nothing_changes():
        refused(await bob.post(url(model), **body), 404, "not_found")


async def test_a_participant_sees_what_it_posted_and_the_owner_everything(alice, bob, carol, training, model):
    for person in (bob, carol):
        await person.post(url(model), **urlencoded(*LOSS_AND_NOTE[::2]))

    assert {metric.reporter for metric in shown(await bob.get(url(model)), list[Metric])} == {bob.id}
    assert {metric.reporter for metric in shown(await alice.get(url(model)), list[Metric])} == {bob.id, carol.id}


async def test_of_one_round_so_many_names_are_kept_of_one_reporter_and_no_more(alice, root, model):
    async def post(person, names):
        return await person.post(url(model), json={"metric_names": names, "metric_values": [1.0] * len(names)})

    names = [f"m{number}" for number in range(64)]
    shown(await post(alice, names[:40]), Accepted, 201)
    shown(await post(alice, names[40:]), Accepted, 201)

    async with nothing_changes():
        refused(await post(alice, ["m0", "one more"]), 400, "invalid", "65 metrics", "at most 64")
    shown(await post(alice, names), Accepted, 201)
    shown(await post(root, ["another's"]), Accepted, 201)
    assert await read(Row.objects.filter(model=model).count) == 65
