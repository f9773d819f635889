"""What one client measured and sent is found by no other participant, in whatever form it asks."""

import json
import re

import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Update
from support.followed import Reader
from support.work import add_up, lease, report_of, settle, start, update, upload

LOSSES = {"bob": 0.5, "carol": 3.716253, "mallory": 1.25}
ADDED = {"bob": 1.0, "carol": 2.8125, "mallory": 0.5}
A_MOMENT = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?")
"""Whose fraction may be like any number."""
API = """
trainings/{training}/  trainings/{training}/rounds/  trainings/{training}/rounds/1/  trainings/{training}/metrics/
trainings/{training}/events/  trainings/{training}/models/  users/trainings/
models/{model}/  models/{model}/metrics/  models/{model}/versions/  models/{model}/versions/1/
"""
PAGES = """
trainings/{training}/  trainings/{training}/?highlight=carol  trainings/{training}/parts/round/?round=1
trainings/{training}/parts/updates/?round=1  trainings/{training}/parts/clients/  trainings/{training}/parts/versions/
trainings/{training}/parts/curves/?highlight=carol  trainings/{training}/parts/log/?client=carol
trainings/{training}/events/  trainings/{training}/events/?client=carol
trainings/{training}/data/curves/  trainings/{training}/data/curves/?format=csv
trainings/{training}/data/round/?round=1  trainings/{training}/data/round/?round=1&format=csv
/  trainings/  models/  models/{model}/  models/{model}/ask/  people/  account/
"""


@pytest.fixture
async def done(make_training, bob, carol, mallory):
    """A round of three clients is done: each measured a loss of its own, and sent an update of its own length."""
    training = await call(lambda: start(make_training(bob, carol, mallory, rounds=2, evaluation={"every": 0})))
    for person in (bob, carol, mallory):
        name = person.user.username
        task, file = await call(lease, person), update(ADDED[name])
        await upload(person, task, file)
        said = report_of(file, 10, {"loss": LOSSES[name]})
        assert (await person.post(f"/api/tasks/{task.id}/report/", json=said)).status_code == 200
    await call(settle, training)
    await call(add_up, training)
    await call(settle, training)
    return training


def addresses(table, training):
    return [each.format(training=training.id, model=training.model_id) for each in table.split()]


async def found_by(person, window, training):
    """All that is told to a person, by its address."""
    asked = [(person, f"/api/{each}") for each in addresses(API, training)]
    asked += [(window, f"/{each.removeprefix('/')}") for each in addresses(PAGES, training)]
    answers = {path: await by.get(path) for by, path in asked}
    assert {answer.status_code for answer in answers.values()} == {200}, answers
    return {path: A_MOMENT.sub("", answer.text) for path, answer in answers.items()}


@pytest.fixture
async def followed(handler):
    """All that the stream of a training tells somebody."""

    async def until(person, training, count):
        reader = Reader(handler, person, f"/api/trainings/{training.id}/events/")
        await reader.until(count)
        reader.disconnect()
        await reader.finished()
        return A_MOMENT.sub("", json.dumps(reader.events))

    return until


async def test_nor_does_the_stream_of_events_tell(alice, bob, done, followed):
    sizes = await read(dict, Update.objects.values_list("task__participation__client__username", "norm"))
    hers = [f"{LOSSES['carol']:.4g}", f"{sizes['carol']:.4g}"]
    counts = [len((await who.get(f"/api/trainings/{done.id}/events/")).json()["events"]) for who in (alice, bob)]

    of_bob, of_alice = await followed(bob, done, counts[1]), await followed(alice, done, counts[0])
    assert [value for value in hers if value in of_bob] == []
    assert f"{sizes['carol']:.4g}" in of_alice, "whoever steers the training is told"


async def test_no_participant_finds_what_another_measured_or_sent(browser, alice, bob, done):
    (norm,) = await read(list, Update.objects.filter(task__participation__client__username="carol").values_list("norm"))
    hers = [f"{LOSSES['carol']:.4g}", f"{norm[0]:.3f}"]

    told = await found_by(bob, await browser(bob), done)
    assert {path: value for path, text in told.items() for value in hers if value in text} == {}
    everything = "".join((await found_by(alice, await browser(alice), done)).values())
    assert all(value in everything for value in hers), "whoever steers the training finds both"
