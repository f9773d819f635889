"""POST /api/models/ and /api/trainings/ with an Idempotency-Key: sent again, they make nothing twice."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from hansa.protocol.models import ModelCreated
from hansa.protocol.trainings import TrainingCreated
from hansa.server.accounts.models import Answered
from hansa.server.accounts.repeats import KEPT, Key
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.registry.models import Model
from hansa.server.registry.services import copy_model
from hansa.server.trainings.models import Training
from support.answers import nothing_changes, refused, refused_field, shown
from support.exchange import Exchange
from support.work import file_of, small_params

MODELS, TRAININGS = "/api/models/", "/api/trainings/"


def keyed(key=None):
    return {"headers": {"Idempotency-Key": key or str(uuid4())}}


def asked(model, **fields):
    return {"json": {"model_id": str(model.id), "plan": {"rounds": 3}, "clients": ["bob"], **fields}}


def form(**fields):
    content = file_of(small_params()).content
    return {"data": {"name": "digits", **fields}, "files": {"model_file": ("model.safetensors", content)}}


async def test_a_training_that_is_asked_for_again_under_its_key_is_the_first_one(alice, bob, model):
    key = keyed()
    first = shown(await alice.post(TRAININGS, **asked(model), **key), TrainingCreated, 201)

    again = shown(await alice.post(TRAININGS, **asked(model), **key), TrainingCreated, 201)

    assert again == first
    assert await read(Training.objects.count) == 1
    assert await read(Model.objects.count) == 1, "no copy of it was made"


async def test_a_model_that_is_sent_again_under_its_key_is_the_first_one(alice):
    """Whatever the boundary of the form, which is another one each time."""
    key = keyed()
    first = shown(await alice.post(MODELS, **form(), **key), ModelCreated, 201)

    assert shown(await alice.post(MODELS, **form(), **key), ModelCreated, 201) == first
    assert await read(Model.objects.count) == 1


async def test_a_mean_that_is_asked_for_again_under_its_key_is_the_first_one(alice, model):
    body = {"json": {"name": "mean", "type": "MEAN", "models": [str(model.id)]}}
    key = keyed()
    first = shown(await alice.post(MODELS, **body, **key), ModelCreated, 201)

    assert shown(await alice.post(MODELS, **body, **key), ModelCreated, 201) == first


async def test_without_a_key_or_under_another_one_each_request_makes_something(alice, bob, model):
    for key in ({}, {}, keyed(), keyed()):
        shown(await alice.post(TRAININGS, **asked(model), **key), TrainingCreated, 201)
    assert await read(Training.objects.count) == 4


async def test_a_key_is_the_same_with_and_without_quotes(alice, bob, model):
    first = await alice.post(TRAININGS, **asked(model), **keyed('"one-two"'))
    assert (await alice.post(TRAININGS, **asked(model), **keyed("one-two"))).json() == first.json()


async def test_a_key_is_its_users_own(alice, root, model):
    await alice.post(MODELS, **form(), **keyed("mine"))
    shown(await root.post(MODELS, **form(), **keyed("mine")), ModelCreated, 201)
    assert await read(Model.objects.filter(name="digits").count) == 2


@pytest.mark.parametrize("other", [{"name": "letters"}, {"buffers": ["fc.bias"]}])
async def test_another_request_under_the_same_key_is_refused(alice, other):
    key = keyed("abc")
    await alice.post(MODELS, **form(), **key)

    async with nothing_changes():
        answer = await alice.post(MODELS, **form(**other), **key)

    assert "'abc' was sent with another request" in refused(answer, 422, "key_reused")


async def test_another_path_under_the_same_key_is_refused(alice, bob, model):
    key = keyed()
    await alice.post(MODELS, **form(), **key)
    refused(await alice.post(TRAININGS, **asked(model), **key), 422, "key_reused")


async def test_another_file_under_the_same_key_is_refused(alice):
    key = keyed()
    await alice.post(MODELS, **form(), **key)
    other = {name: array + 1 for name, array in small_params().items()}
    answer = await alice.post(MODELS, data={"name": "digits"}, files={"model_file": file_of(other).content}, **key)
    refused(answer, 422, "key_reused")


async def test_the_first_answer_comes_also_when_what_was_asked_for_is_gone(alice, bob, model):
    key = keyed()
    first = await alice.post(TRAININGS, **asked(model), **key)
    await alice.delete(f"{TRAININGS}{first.json()['training_id']}/")
    await alice.delete(f"{MODELS}{model.id}/")

    assert (await alice.post(TRAININGS, **asked(model), **key)).json() == first.json()


async def test_a_refusal_is_not_kept(alice, bob, model):
    key = keyed()
    refused(await alice.post(TRAININGS, **asked(model, clients=["nobody"]), **key), 404, "not_found")
    shown(await alice.post(TRAININGS, **asked(model), **key), TrainingCreated, 201)


async def test_an_answer_is_kept_for_a_day_and_then_goes(alice, bob, model, clock):
    old, new = keyed("old"), keyed("new")
    first = (await alice.post(TRAININGS, **asked(model), **old)).json()
    clock.advance(KEPT.total_seconds() - 1)
    assert (await alice.post(TRAININGS, **asked(model), **old)).json() == first
    clock.advance(1)
    assert (await alice.post(TRAININGS, **asked(model), **old)).json() != first
    clock.advance(KEPT.total_seconds())
    await alice.post(TRAININGS, **asked(model), **new)
    assert await read(lambda: [row.key for row in Answered.objects.all()]) == ["new"]


async def test_a_request_that_is_being_answered_is_not_answered_twice_at_once(alice, handler):
    first = Exchange(handler, alice, "POST", MODELS, {"Idempotency-Key": "slow", "content-type": "multipart/form-data"})
    await first.until_asked()

    answer = await alice.post(MODELS, **form(), **keyed("slow"))

    assert "Repeat it in a few seconds" in refused(answer, 409, "in_progress")
    first.disconnect()
    await first.finished()
    shown(await alice.post(MODELS, **form(), **keyed("slow")), ModelCreated, 201)


async def test_what_another_process_has_made_meanwhile_is_not_made_again(alice, bob, model):
    once = Key(alice.user.id, TRAININGS, "one").once(TrainingCreated, {})
    answered = TrainingCreated(detail="", training_id=str(UUID(int=0)), model_id=str(model.id))
    made = []
    await call(once.make, lambda: made.append("there"), lambda _: answered)

    async with nothing_changes():
        with pytest.raises(ConflictError, match="Repeat it in a few seconds"):
            await call(once.make, partial(copy_model, model=model, now=timezone.now()), lambda _: answered)
    assert await once.first_answer() == answered


@pytest.mark.parametrize("key", ["", '""', "two words", "x" * 65, "ä", 'a"b', '"open'])
async def test_what_is_no_key_is_refused(alice, bob, model, key):
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    async with nothing_changes():
        answer = await alice.post(TRAININGS, **asked(model), headers=headers)
    assert "visible ASCII" in refused_field(answer, "Idempotency-Key")


async def test_a_deleted_users_answers_go_with_it(alice, bob, model):
    await alice.post(TRAININGS, **asked(model), **keyed())
    await call(lambda: (Training.objects.all().delete(), Model.objects.all().delete(), alice.user.delete()))
    assert not await read(Answered.objects.exists)
