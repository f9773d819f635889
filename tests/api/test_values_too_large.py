"""A client whose finite numbers would make the mean infinite is named and left out; the others' training goes on."""

import numpy as np
import pytest

from hansa.core.finite import LARGEST
from hansa.server.lifecycle.bridge import call
from support.answers import refused
from support.federation import ended, give_up, orchestrating, params_of, take
from support.work import file_of, report_of, start, store_model, upload_and_report

pytestmark = pytest.mark.usefixtures("soon")


def update(value):
    return file_of({"w": np.array([value, 1.0])}, frozenset())


@pytest.fixture
async def training(alice, bob, carol, make_training, tmp_path):
    """Of a model of float64, whose range is the mean's own."""
    model = await call(store_model, alice, {"w": np.zeros(2)}, frozenset(), tmp_path)
    return await call(lambda: start(make_training(bob, carol, model=model, closing={"min_reports": 1})))


async def test_who_sends_them_is_named_and_the_others_have_their_version(alice, bob, carol, training):
    async with orchestrating():
        task, huge = await take(bob), update(1e300)
        answer = await bob.put(f"/api/tasks/{task['id']}/update/{huge.digest}/", content=huge.content)
        refused(answer, 422, "not_finite", "'w' holds 1e+300 at flat index 0", "a mean with others")
        await give_up(bob, task, "the server refused it")
        await upload_and_report(carol, (await take(carol))["id"], update(4.0))
        record = await ended(alice, training)

    assert record["status"] == "completed"
    assert (await params_of(alice, record, 1))["w"].tolist() == [4.0, 1.0]
    events = (await alice.get(f"/api/trainings/{training.id}/events/?kind=task.refused")).json()["events"]
    assert [(event["username"], event["data"]["code"]) for event in events] == [("bob", "not_finite")]


async def test_the_largest_that_are_taken_have_a_mean_whatever_their_weights(alice, bob, carol, training):
    async with orchestrating():
        for client in (bob, carol):
            task, file = await take(client), update(LARGEST)
            await client.put(f"/api/tasks/{task['id']}/update/{file.digest}/", content=file.content)
            report = {**report_of(file), "num_examples": 2**53}
            assert (await client.post(f"/api/tasks/{task['id']}/report/", json=report)).status_code == 200
        record = await ended(alice, training)

    assert (await params_of(alice, record, 1))["w"].tolist() == [LARGEST, 1.0]
