"""Whatever the order in which updates arrive, and wherever the server is restarted between: the versions' bits are one.

Four clients, three rounds that close at two reports. Who is in time, and for which round the others come too late, is
always the same; when they come within that, and where the server restarts, is drawn.
"""

import asyncio
import random

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.core.staleness import weight
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round
from hansa.server.trainings.services import aggregation, tasks
from support.slow_mean import bits, slow_mean
from support.work import add_up, file_of, lease, settle, small_params, start, upload_and_report

IN_TIME = {1: (0, 1), 2: (2, 0), 3: (1, 3)}
"""By round the clients that report before it closes."""
LATE = {2: [(1, 2)], 3: [(1, 3), (2, 1)]}
"""By round the late updates that count in it: trained in which round, by whom."""
EXAMPLES = (1, 999, 37, 10_000_019)
EXPONENT = 0.7


def cancelling():
    """Numbers for round 3 that nearly take each other back: what is left shows every rounding on the way."""
    first, late = EXAMPLES[1], weight(EXAMPLES[3], 2, EXPONENT)
    large = np.float32(2**60)
    back = np.float32(-float(large) * first / late)
    rest = np.float32(-(float(large) * first + float(back) * late) / EXAMPLES[3])
    return {(3, 1): large, (1, 3): back, (3, 3): rest, (2, 1): np.float32(1)}


CANCELLING = cancelling()
"""By round and client; a few numbers drawn at random would show an order by chance only."""


def file_by(number, ordinal):
    """What a client makes of its task: numbers of all magnitudes, so that the order of a sum is seen."""
    rng = np.random.default_rng([20_261_122, number, ordinal])
    params = small_params()
    for name, array in params.items():
        if array.dtype.kind == "f":
            sizes = rng.integers(-20, 21, size=array.shape)
            params[name] = np.ldexp(rng.uniform(-1, 1, size=array.shape), sizes).astype(np.float32)
            if (number, ordinal) in CANCELLING:
                params[name].flat[0] = CANCELLING[number, ordinal]
    return file_of(params)


async def restart():
    """What a new process does first; what only the old one knew is gone."""
    HINTS.bind(asyncio.get_running_loop())
    await call(aggregation.drop_claims)
    await call(tasks.forgive_downtime, now=(await read(Round.objects.order_by("opened_at").last)).opened_at)


async def trained(training, clients, rng):
    """Do all rounds, in an order that `rng` draws."""
    held = {}
    for number, quick in IN_TIME.items():
        begin = {*quick, *(who for lists in LATE.values() for of, who in lists if of == number)}
        for ordinal in rng.sample(sorted(begin), len(begin)):
            held[number, ordinal] = await call(lease, clients[ordinal])
        coming = [(number, ordinal) for ordinal in quick] + [each for each in LATE.get(number, []) if each in held]
        for of, ordinal in rng.sample(coming, len(coming)):
            await arrive(clients, held, of, ordinal)
            if rng.random() < 0.3:
                await restart()
        await call(settle, training)
        for each in LATE.get(number + 1, []):
            if each in held and rng.random() < 0.5:  # while the version is being computed
                await arrive(clients, held, *each)
        if rng.random() < 0.5:
            await call(aggregation.claim, training_id=training.id, now=training.started_at)
            await restart()
        await call(add_up, training)


async def arrive(clients, held, of, ordinal):
    """The update of a task comes in; once."""
    if (task := held.pop((of, ordinal), None)) is not None:
        await upload_and_report(clients[ordinal], task, file_by(of, ordinal), EXAMPLES[ordinal])


@pytest.fixture
def clients(person):
    return [person(f"client{number}", client=True) for number in range(4)]


@pytest.fixture
def reference():
    """The bits of each version, by a slow plain loop over what the plan says must count."""
    made = []
    for number, quick in IN_TIME.items():
        lines = [(number, ordinal, EXAMPLES[ordinal]) for ordinal in sorted(quick)]
        for of, ordinal in LATE.get(number, []):
            lines.append((of, ordinal, weight(EXAMPLES[ordinal], number - of, EXPONENT)))
        files = [load(file_by(of, ordinal).content) for of, ordinal, _ in lines]
        made.append(bits(slow_mean(files, [share for *_, share in lines])))
    return made


@pytest.mark.parametrize("seed", range(5))
async def test_the_bits_are_those_of_the_plan_whatever_comes_when(seed, clients, make_training, reference):
    late = {"kind": "fold", "exponent": EXPONENT, "max_staleness": 2}
    training = await call(lambda: start(make_training(*clients, rounds=3, closing={"quorum": 2}, late=late)))
    await trained(training, clients, random.Random(seed))  # noqa: S311  # an order, not a secret

    versions = await read(lambda: list(ModelVersion.objects.filter(model=training.model_id).order_by("number")[1:]))
    assert [bits(load(store.path_of(each.blob_id).read_bytes())) for each in versions] == reference
    folded = await read(lambda: list(Round.objects.order_by("number").values_list("folded", flat=True)))
    assert [[(line[3], line[0]) for line in lines] for lines in folded] == [[], LATE[2], LATE[3]]


def test_another_order_would_have_other_bits(reference):
    files = [load(file_by(number, ordinal).content) for number, ordinal in ((3, 1), (3, 3), (1, 3), (2, 1))]
    shares = [EXAMPLES[1], EXAMPLES[3], weight(EXAMPLES[3], 2, EXPONENT), weight(EXAMPLES[1], 1, EXPONENT)]

    assert bits(slow_mean(files, shares)) == reference[2]
    assert bits(slow_mean(files[::-1], shares[::-1])) != reference[2]
