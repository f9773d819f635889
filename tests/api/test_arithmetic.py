"""An independent check of the arithmetic: every version, recomputed from the stored updates by a slow plain loop.

Nothing of ours computes here: the files are read by safetensors' own library, the sums are Python floats (float64), one
element after the other, in the order of the accepted list. Bits are compared, not numbers.
"""

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.models import Round, Task
from support.federation import Worker, began, ended, take
from support.slow_mean import bits, slow_mean
from support.work import store_model

CLIENTS = 6
ROUNDS = 2
SEED = 20260302

EXAMPLES = (1, 999, 37, 10_000_019, 5, 123_456)

ARRIVAL = (4, 1, 5, 0, 3, 2)
"""In which order the clients report, by their ordinals."""

CANCELLING = "conv.weight"
FROZEN = "embed.weight"
TIED = ("encoder.weight", "decoder.weight")
BUFFERS = frozenset({"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "norm.scale_int8"})


def wild(rng, *shape):
    """Random float32 of either sign, with exponents from -20 to 20: a sum depends on the order of its terms."""
    exponents = rng.integers(-20, 21, size=shape)
    return np.ldexp(rng.uniform(-1, 1, size=shape), exponents).astype(np.float32)


def model_params(rng):
    """A model with everything that could go wrong in a mean."""
    tied = wild(rng, 17, 5)
    return {
        FROZEN: wild(rng, 8, 4),
        TIED[0]: tied,
        TIED[1]: tied,
        CANCELLING: wild(rng, 16, 8, 3, 3),
        "half": wild(rng, 33).clip(-6e4, 6e4).astype(np.float16),
        "double": wild(rng, 9).astype(np.float64) * np.pi,
        "scalar": np.array(0.1, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "norm.running_mean": wild(rng, 5),
        "norm.running_var": np.abs(wild(rng, 5)),
        "norm.num_batches_tracked": np.array(7, np.int64),
        "norm.scale_int8": rng.integers(-128, 128, size=6).astype(np.int8),
    }


def train(params, task):
    """What a client might make of a model: new numbers everywhere but in what is frozen; what is tied stays tied.

    In one array every client nearly undoes what another one did: what is left of their sum is so small that the order
    of the additions is seen even after rounding to float32.
    """
    ordinal = task["ordinal"]
    trained = model_params(numbers_of(task["round"], ordinal))
    if (undone := ordinal - CLIENTS // 2) >= 0:
        other = model_params(numbers_of(task["round"], undone))[CANCELLING]
        trained[CANCELLING] = -other * np.float32(EXAMPLES[undone] / EXAMPLES[ordinal])
    trained[FROZEN] = params[FROZEN]
    trained["norm.num_batches_tracked"] = np.array(
        int(numbers_of(task["round"], ordinal).integers(-999, 999)), np.int64
    )
    return trained


def numbers_of(number, ordinal):
    """The generator of one client in one round."""
    return np.random.default_rng([SEED, number, ordinal])


@pytest.fixture
def people(person):
    return [person(f"client{number}", client=True) for number in range(CLIENTS)]


@pytest.fixture
async def trained(alice, people, make_training, orchestrator, tmp_path):
    """A finished training whose updates are kept; the clients report in another order than they joined."""
    params = model_params(np.random.default_rng(SEED))
    model = await call(store_model, alice, params, BUFFERS, tmp_path)
    training = await call(lambda: make_training(*people, model=model, rounds=ROUNDS, keep_updates=ROUNDS))
    workers = [
        Worker(person, train, examples=examples, buffers=BUFFERS)
        for person, examples in zip(people, EXAMPLES, strict=True)
    ]
    await began(alice, training)
    for _ in range(ROUNDS):
        for place in ARRIVAL:
            await workers[place].do(await take(people[place]))
    assert (await ended(alice, training))["status"] == "completed"
    return training


async def accepted_lists(training):
    rows = Round.objects.filter(training=training).order_by("number").select_related("version")
    return [(row.version, row.accepted) for row in await read(lambda: list(rows))]


def stored(digest):
    return load(store.path_of(digest).read_bytes())


async def test_every_version_is_the_mean_of_its_updates_in_canonical_order_bit_for_bit(trained):
    lists = await accepted_lists(trained)
    assert len(lists) == ROUNDS
    for version, accepted in lists:
        updates, weights = [stored(digest) for _, digest, _ in accepted], [weight for _, _, weight in accepted]
        right = bits(stored(version.blob_id))

        assert [ordinal for ordinal, _, _ in accepted] == list(range(CLIENTS))
        assert tuple(weights) == EXAMPLES
        assert right == bits(slow_mean(updates, weights)), f"version {version.number}"

        # If another order gave the same bits, the line above would prove nothing.
        for order in OTHER_ORDERS:
            other = bits(slow_mean([updates[place] for place in order], [weights[place] for place in order]))
            assert other[CANCELLING] != right[CANCELLING], f"in order {order} the bits are the same"

    arrived = await read(lambda: tuple(reports(trained, 1).values_list("participation__ordinal", flat=True)))
    assert arrived == ARRIVAL, "not the canonical order"


OTHER_ORDERS = [(0, 2, 1, 3, 4, 5), (0, 1, 2, 3, 5, 4), (5, 4, 3, 2, 1, 0), (3, 0, 4, 1, 5, 2)]


def reports(training, number):
    return Task.objects.filter(round__training=training, round__number=number).order_by("update__id")


async def test_frozen_tied_and_integer_arrays_and_the_norms_are_as_promised(trained):
    first = await read(ModelVersion.objects.get, model=trained.model_id, number=0)
    truncated = []
    for version, accepted in await accepted_lists(trained):
        params = stored(version.blob_id)
        assert params[FROZEN].tobytes() == stored(first.blob_id)[FROZEN].tobytes(), "what nobody trained comes back"
        assert params[TIED[0]].tobytes() == params[TIED[1]].tobytes(), "what is tied stays tied"

        counts = [int(stored(digest)["norm.num_batches_tracked"]) * weight for _, digest, weight in accepted]
        exact = sum(counts) / sum(weight for _, _, weight in accepted)
        assert int(params["norm.num_batches_tracked"]) == int(exact), "truncated toward zero"
        truncated.append(exact != int(exact))
    assert any(truncated)

    for row in await read(lambda: list(reports(trained, 2).select_related("update__base"))):
        base, update = stored(row.update.base.blob_id), stored(row.update.digest)
        squares = [
            (float(mine) - float(before)) ** 2
            for name in update.keys() - BUFFERS
            for mine, before in zip(update[name].reshape(-1).tolist(), base[name].reshape(-1).tolist(), strict=True)
        ]
        assert row.update.norm == pytest.approx(sum(squares) ** 0.5, rel=1e-12), "over params only"


def test_the_numbers_are_as_wild_as_they_should_be():
    values = np.abs(wild(np.random.default_rng(SEED), 10_000))

    assert np.log2(values.max() / values[values > 0].min()) >= 40
