"""A training for each rule, with one client that sends whatever it likes: whom it follows, and what is told."""

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from support.federation import Worker, began, ended, give_up, moved_by, take
from support.rules import SECTIONS
from support.work import BUFFERS, small_params

CLIENTS = 7
BYZANTINE = 2
"""By its ordinal."""
FAR = 1000.0
STEPS = (0.9, 1.0, FAR, 1.05, 0.95, 1.1, 1.0)
HONEST = [step for step in STEPS if step != FAR]
LEARNED = {"fc.weight", "fc.bias"}
"""The others are buffers: the weighted mean, whatever the rule."""

FOLLOWS = {"weighted_mean", "sum"}
BOUNDED = {"norm_bounded_mean"}
BY_RANK = {"median", "trimmed_mean"}

by_rule = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])


@pytest.fixture
def people(person):
    return [person(f"client{number}", client=True) for number in range(CLIENTS)]


async def trained(alice, people, make_training, **plan):
    """The first version of a training in which every client has moved all params by its step."""
    training = await call(lambda: make_training(*people, rounds=1, **plan))
    workers = [Worker(each, moved_by(step), buffers=BUFFERS) for each, step in zip(people, STEPS, strict=True)]
    await began(alice, training)
    for place in (4, 2, 6, 0, 5, 1, 3):
        await workers[place].do(await take(people[place]))
    assert (await ended(alice, training))["status"] == "completed"
    version = await read(ModelVersion.objects.get, model=training.model_id, number=1)
    params, began_from = load(store.path_of(version.blob_id).read_bytes()), small_params()
    moved = np.concatenate([(params[name] - began_from[name]).ravel() for name in sorted(LEARNED)])
    round_one = (await alice.get(f"/api/trainings/{training.id}/rounds/1/")).json()
    return moved, round_one["tasks"]


@by_rule
async def test_the_mean_follows_whoever_shouts_and_a_robust_rule_does_not(
    alice, people, make_training, orchestrator, section
):
    moved, tasks = await trained(alice, people, make_training, aggregator=section)

    weights = [task["weight"] for task in tasks]
    if section["kind"] in FOLLOWS:
        assert moved.min() > 100
        wanted = 1.0 if section["kind"] == "sum" else 1 / CLIENTS
        assert weights == pytest.approx([wanted] * CLIENTS)
    elif section["kind"] in BOUNDED:
        assert np.linalg.norm(moved) <= section["bound"] * (1 + 1e-6)
        assert weights[BYZANTINE] < min(weights[:BYZANTINE] + weights[BYZANTINE + 1 :]) / 100
    else:
        assert min(HONEST) - 1e-3 <= moved.min() <= moved.max() <= max(HONEST) + 1e-3
        if section["kind"] in BY_RANK:
            assert weights == [None] * CLIENTS
        else:
            assert sum(weights) == pytest.approx(1)
            assert weights[BYZANTINE] < 0.001
    assert all(task["cosine"] is not None for task in tasks)


async def test_clipping_holds_for_whoever_sends_what_nobody_asked_for(alice, people, make_training, orchestrator):
    bound = 0.5
    moved, tasks = await trained(alice, people, make_training, transforms=[{"kind": "clip_norm", "bound": bound}])

    assert np.linalg.norm(moved) <= bound * (1 + 1e-6)
    norms = [task["norm"] for task in tasks]
    assert [task["weight"] for task in tasks] == pytest.approx([bound / norm / CLIENTS for norm in norms])


async def test_too_few_reports_for_the_rule_are_a_new_attempt_with_the_reason(
    alice, people, make_training, orchestrator
):
    training = await call(lambda: make_training(*people, rounds=1, aggregator={"kind": "krum", "byzantine": 2}))
    await began(alice, training)

    await give_up(people[0], await take(people[0]))
    for person in people[1:]:
        await Worker(person, moved_by(1.0), buffers=BUFFERS).do(await take(person))

    assert (await take(people[1]))["round"] == 1
    first, second = (await alice.get(f"/api/trainings/{training.id}/rounds/")).json()
    assert (first["state"], second["attempt"]) == ("abandoned", 2)
    assert first["reason"].startswith("only 6 of 7 clients have reported, 7 are needed")


async def test_a_training_with_too_few_clients_for_its_rule_does_not_start(alice, people, make_training, orchestrator):
    training = await call(lambda: make_training(*people[:4], aggregator={"kind": "krum", "byzantine": 1}))

    answer = await alice.post(f"/api/trainings/{training.id}/start/")

    assert answer.status_code == 422
    assert "needs 5 reports, but a round selects 4 of 4 participants" in answer.json()["detail"]
