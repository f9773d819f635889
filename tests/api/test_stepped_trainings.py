"""Trainings with a server step: every version against a slow loop, and what the step remembers between rounds."""

import numpy as np
import pytest

from hansa.server.lifecycle.bridge import call
from support.federation import Worker, at_work, began, ended, moved_by, params_of
from support.steps import SECTIONS, SlowStep
from support.work import BUFFERS, small_params

pytestmark = pytest.mark.usefixtures("soon")

ROUNDS = 4
EXAMPLES = (10, 30)
ADAM = next(section for section in SECTIONS if section["kind"] == "adam")
by_step = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])


@pytest.fixture
def seed():
    drawn = int(np.random.default_rng().integers(2**32))
    print(f"seed {drawn}")  # a random test tells its seed
    return drawn


def drawn_by(seed):
    """Clients that move what they get by numbers drawn from the seed, their ordinal and the round."""

    def train(params, task):
        return moved(params, seed, task["ordinal"], task["round"])

    return train


def moved(params, seed, ordinal, number):
    rng = np.random.default_rng([seed, ordinal, number])
    return {
        name: (array + rng.normal(size=array.shape)).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in sorted(params.items())
    }


def slowly(section, seed):
    """The versions that must come, element after element."""
    params, steps, versions = small_params(), {}, []
    for number in range(1, ROUNDS + 1):
        sent = [moved(params, seed, ordinal, number) for ordinal in range(len(EXAMPLES))]
        mean = {
            name: sum(n * arrays[name].astype(np.float64) for n, arrays in zip(EXAMPLES, sent, strict=True))
            / sum(EXAMPLES)
            for name in params
        }
        after = {}
        for name, array in params.items():
            if name in BUFFERS:
                after[name] = mean[name].astype(array.dtype)
                continue
            after[name] = np.empty_like(array)
            for place, value in np.ndenumerate(array):
                step = steps.setdefault((name, place), SlowStep(section))
                after[name][place] = float(value) + step(float(mean[name][place]) - float(value))
        params = after
        versions.append(params)
    return versions


@by_step
async def test_every_version_is_that_of_the_papers_recursion(
    alice, bob, carol, make_training, orchestrator, section, seed
):
    training = await call(make_training, bob, carol, rounds=ROUNDS, server_step=section)
    workers = [
        Worker(person, drawn_by(seed), examples=examples, buffers=BUFFERS)
        for person, examples in zip((bob, carol), EXAMPLES, strict=True)
    ]
    async with at_work(*workers):
        await began(alice, training)
        record = await ended(alice, training)

    assert record["status"] == "completed", record["reason"]
    for number, expected in enumerate(slowly(section, seed), start=1):
        found = await params_of(alice, record, number)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=f"{name} of version {number}")
            assert found[name].dtype == array.dtype


async def test_in_a_daisy_chain_a_step_takes_what_the_whole_chain_has_come_to(
    alice, bob, carol, make_training, orchestrator
):
    step = {"kind": "momentum", "server_lr": 0.5, "momentum": 0.5}
    training = await call(make_training, bob, carol, rounds=4, server_step=step, daisy_chain={"period": 2})

    def travelled(params, task):  # as one that goes on from the model that it was dealt
        return moved_by(2.0 - task["round"] % 2)(params, task)

    async with at_work(*(Worker(person, travelled, buffers=BUFFERS) for person in (bob, carol))):
        await began(alice, training)
        record = await ended(alice, training)

    assert (record["status"], record["version"]) == ("completed", 2), record["reason"]
    assert (await params_of(alice, record, 1))["fc.bias"].tolist() == [1.0] * 3  # of 2: half
    assert (await params_of(alice, record, 2))["fc.bias"].tolist() == [2.5] * 3  # of 2, and half of the 2 before
