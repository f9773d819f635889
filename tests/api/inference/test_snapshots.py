"""Snapshot ensembles: the last versions of a training answer together; how far they are apart is the uncertainty."""

import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import Model, ModelVersion
from support.answers import refused
from support.asking import Weighted, answer, ask, created, numbers_of
from support.torchfiles import scripted
from support.work import add_up, lease, settle, start, upload_and_report

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("programs")]

X = [[1.0, 0.0]]
"""What is asked: the answer is a version's first weight."""


@pytest.fixture
async def learnt(alice, bob, make_training):
    """Of a plan that wants snapshots of three versions: version 0 has weight 100, versions 1 to 4 have 1, 2, 4, 9."""
    model_id = await created(alice, scripted(Weighted(100.0, 0.0)))
    model = await read(Model.objects.get, id=model_id)
    plan = {"rounds": 5, "evaluation": {"every": 0}, "uncertainty": {"method": "snapshots", "samples": 3}}
    training = await call(lambda: start(make_training(bob, model=model, keep_updates=9, **plan)))
    for weight in (1.0, 2.0, 4.0, 9.0):
        task = await call(lease, bob)
        await upload_and_report(bob, task, numbers_of(Weighted(weight, 0.0)))
        await call(settle, training)
        await call(add_up, training)
        await call(settle, training)
    return model_id, str(task.id)


async def test_the_last_versions_answer_together_as_the_plan_says(alice, learnt):
    found = answer(await ask(alice, learnt[0], X))

    assert found.inference == [[5.0]]  # of 2, 4 and 9
    assert found.uncertainty["variance"] == [[13.0]]
    assert (found.hansa.method, found.hansa.passes, found.hansa.version) == ("snapshots", 3, 4)


async def test_a_question_may_ask_for_others_and_for_those_up_to_a_version(alice, learnt):
    wish = {"method": "snapshots", "samples": 2}
    assert answer(await ask(alice, learnt[0], X, uncertainty=wish)).inference == [[6.5]]
    assert answer(await ask(alice, learnt[0], X, uncertainty=wish, version=3)).inference == [[3.0]]
    assert answer(await ask(alice, learnt[0], X, uncertainty={"method": "none"}, version=0)).inference == [[100.0]]


async def test_the_version_before_the_first_round_is_never_one_of_them(alice, learnt):
    found = answer(await ask(alice, learnt[0], X, uncertainty={"method": "snapshots", "samples": 1000}))
    assert (found.inference, found.hansa.passes) == ([[4.0]], 4)


async def test_a_version_that_is_lost_is_done_without(alice, learnt):
    await read(lambda: ModelVersion.objects.filter(model=learnt[0], number=3).update(lost="the disk"))
    assert answer(await ask(alice, learnt[0], X)).inference == [[4.0]]  # of 1, 2 and 9


async def test_fewer_than_two_versions_are_no_ensemble_and_that_is_said(alice, learnt):
    for more in ({"version": 1}, {"version": 0}, {"uncertainty": {"method": "snapshots", "samples": 1}}):
        refused(await ask(alice, learnt[0], X, **more), 409, "impossible_method", "two or more versions")


async def test_local_models_and_means_have_no_snapshots(alice, learnt):
    model_id, local_id = learnt
    snapshots = {"uncertainty": {"method": "snapshots"}}
    refused(await ask(alice, local_id, X, **snapshots), 409, "impossible_method", "ask the model")
    assert answer(await ask(alice, local_id, X)).inference == [[9.0]]

    members = [model_id, await created(alice, scripted(Weighted(1.0, 0.0)))]
    mean = (await alice.post("/api/models/", json={"name": "m", "type": "MEAN", "models": members})).json()["model_id"]
    refused(await ask(alice, mean, X, **snapshots), 409, "impossible_method", "ask with ensemble or none")
