"""Values that are valid JSON, and that not every database can store: they are refused, never a fault of the server."""

import pytest
from django.db import connection

from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.models import Training
from support.work import lease, report_of, update, upload

NUL = "a\0b"


@pytest.fixture
async def refused(bob, bobs_task):
    """Check an answer to a request with a NUL in it: on PostgreSQL 400, on SQLite as if it were any character."""

    def check(answer):
        assert answer.status_code < 500, answer.text
        if connection.vendor == "postgresql":
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
            assert "The database cannot take a value of this request" in answer.json()["detail"]

    return check


async def test_a_nul_in_the_name_of_a_token(alice, refused):
    refused(await alice.post("/api/tokens/", json={"name": NUL}))


async def test_a_nul_in_the_name_of_an_instance(bob, refused):
    refused(await bob.post("/api/tasks/next/", json={"instance": NUL}))


async def test_a_nul_in_the_name_of_a_metric(bob, bobs_task, refused):
    await upload(bob, bobs_task, update())

    refused(await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(update(), 1, {NUL: 1.0})))


async def test_a_nul_in_the_reason_of_who_gives_back(bob, bobs_task, refused):
    refused(await bob.post(f"/api/tasks/{bobs_task.id}/release/", json={"reason": NUL, "failed": True}))


@pytest.mark.parametrize(
    "wrong", [{"name": NUL}, {"clients": [NUL]}, {"plan": {"rounds": 1, "client": {"extra": {"a": NUL}}}}]
)
async def test_a_nul_in_a_training(alice, model, refused, wrong):
    wanted = {"model_id": str(model.id), "plan": {"rounds": 1}, "clients": ["bob"]}

    refused(await alice.post("/api/trainings/", json=wanted | wrong))


async def test_a_nul_in_the_name_of_who_signs_in(nobody):
    answer = await nobody.get("/api/users/myself/", auth=(NUL, "correct horse battery"))

    assert answer.status_code < 500, answer.text


async def test_a_training_takes_the_beginning_of_a_long_name_of_its_model(alice, bob, model):
    model.name = "m" * 256
    await call(model.save)

    wanted = {"model_id": str(model.id), "plan": {"rounds": 1}, "clients": ["bob"]}
    assert (await alice.post("/api/trainings/", json=wanted)).status_code == 201

    assert (await call(Training.objects.get)).name == "m" * 200


async def test_after_a_refusal_the_same_task_can_still_be_done(bob, bobs_task, refused):
    refused(await bob.post("/api/tasks/next/", json={"instance": NUL}))

    assert (await call(lease, bob)).id == bobs_task.id
