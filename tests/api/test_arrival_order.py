"""The version of a round has the same bits in whatever order its reports came, by every rule.

The params are float64 of very different sizes that nearly cancel: their sum has other bits in another order, so a rule
that added them as they come would show.
"""

import numpy as np
import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from support.federation import Worker, began, ended, take
from support.rules import SECTIONS
from support.work import store_model

CLIENTS = 7
SIZE = 40

by_rule = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])
pytestmark = pytest.mark.usefixtures("orchestrator")


@pytest.fixture
def seed():
    drawn = int(np.random.default_rng().integers(2**32))
    print(f"seed {drawn}")  # a random test tells its seed
    return drawn


@pytest.fixture
def people(person):
    return [person(f"client{number}", client=True) for number in range(CLIENTS)]


def learned_by(seed, ordinal):
    """What the client has learned: near the others' where they agree, and by far its own where they do not."""
    rng = np.random.default_rng([seed, ordinal])
    return np.exp2(rng.uniform(-30, 30, SIZE)) * rng.choice([-1.0, 1.0], SIZE)


def in_order(values):
    """Their plain sum, one after the other."""
    total = np.zeros(SIZE)
    for each in values:
        total = total + each
    return total


@by_rule
async def test_no_bit_of_a_version_tells_who_came_first(alice, people, make_training, tmp_path, section, seed):
    learned = [learned_by(seed, ordinal) for ordinal in range(CLIENTS)]
    assert in_order(learned).tobytes() != in_order(learned[::-1]).tobytes(), "these params show no order of summation"
    shuffled = [int(place) for place in np.random.default_rng(seed).permutation(CLIENTS)]

    versions = []
    for order in (range(CLIENTS), reversed(range(CLIENTS)), shuffled):
        model = await call(store_model, alice, {"w": np.zeros(SIZE)}, frozenset(), tmp_path)
        training = await call(lambda model=model: make_training(*people, model=model, rounds=1, aggregator=section))
        await began(alice, training)
        for place in order:
            task = await take(people[place])
            await Worker(people[place], lambda _, task: {"w": learned[task["ordinal"]]}).do(task)
        assert (await ended(alice, training))["status"] == "completed"
        versions.append((await read(ModelVersion.objects.get, model=training.model_id, number=1)).blob_id)

    assert versions == [versions[0]] * 3
