"""Versions that clients have calibrated answer with their temperature, and with sets or intervals of a level."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from hansa.server.inference.answers import AT_EDGE, TEMPERED_PASSES
from hansa.server.inference.levels import EMPTY, FITTED, NOT_PROMISED
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry import calibrations
from hansa.server.registry.models import Model, ModelVersion
from hansa.uncertainty import conformal
from hansa.uncertainty.sketches import Grid, sketch_of
from support.answers import refused, refused_field
from support.asking import URL, Weighted, answer, ask, ask_in_form, created
from support.torchfiles import scripted

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("programs")]

ROWS = [[2.0, 0.0, -1.0], [0.4, 0.3, 0.2]]
RNG = np.random.default_rng(4)


def logits() -> nn.Module:
    """It gives back what it is given."""
    net = nn.Linear(3, 3, bias=False)
    nn.init.eye_(net.weight)
    return net


async def calibrated(owner, net, *, rule="", scores=(), clients=2, **known):
    """A model whose version 0 its clients have calibrated."""
    model_id = await created(owner, scripted(net))
    if rule:
        sketch = sketch_of(scores, Grid.POSITIVE if rule == "residual" else Grid.UNIT)
        stored = calibrations.stored(sketch)
        known |= {"rule": rule, "scores": stored, "score_examples": sketch.count, "score_clients": clients}
    await call(lambda: calibrations.keep(ModelVersion.objects.get(model_id=model_id, number=0), known))
    return model_id


def limit_of(scores, level, grid=Grid.UNIT, clients=2):
    return conformal.pooled_threshold(sketch_of(scores, grid), clients, 1 - level)


# Temperature


@pytest.mark.parametrize("method", ["none", "mc_dropout"])
async def test_a_temperature_at_the_end_of_what_was_tried_is_told_with_the_answer(alice, method):
    model_id = await calibrated(alice, nn.Sequential(logits(), nn.Dropout(0.5)), temperature=16.0, at_edge=True)
    wish = {"method": method, "outputs": "logits"}

    tempered = answer(await ask(alice, model_id, ROWS, uncertainty=wish))
    plain = answer(await ask(alice, model_id, ROWS, uncertainty={**wish, "outputs": "values"}))

    told = AT_EDGE.format(16.0, 0.0625, 16.0)
    assert "from 0.0625 to 16 suits the clients' examples better than 16, and one beyond may" in told
    assert told in tempered.hansa.notes
    assert told not in plain.hansa.notes, "it was not divided by that temperature"


async def test_the_logits_are_divided_by_the_temperature_of_the_version_and_the_answer_says_so(alice):
    model_id = await calibrated(alice, logits(), temperature=2.0)

    found = answer(await ask(alice, model_id, ROWS))
    assert found.hansa.temperature == 2.0
    assert found.hansa.outputs == "logits", "whoever found a temperature declared it"
    assert np.allclose(found.hansa.probabilities, torch.softmax(torch.tensor(ROWS) / 2, dim=1))
    assert found.inference == [0, 0]


async def test_outputs_declared_to_be_something_else_are_not_divided(alice):
    model_id = await calibrated(alice, logits(), temperature=2.0)

    found = answer(await ask(alice, model_id, ROWS, uncertainty={"outputs": "values"}))
    assert found.hansa.temperature is None
    assert np.allclose(found.inference, ROWS)


async def test_where_several_passes_are_tempered_the_answer_says_what_that_is_worth(alice):
    model_id = await calibrated(alice, nn.Sequential(logits(), nn.Dropout(0.5)), temperature=2.0)

    found = answer(await ask(alice, model_id, ROWS, uncertainty={"method": "mc_dropout", "outputs": "logits"}))
    assert found.hansa.temperature == 2.0
    assert TEMPERED_PASSES in found.hansa.notes
    plain = answer(await ask(alice, model_id, ROWS, uncertainty={"method": "mc_dropout"}))
    assert plain.hansa.temperature is None


async def test_a_version_that_nobody_calibrated_answers_as_it_did(alice):
    model_id = await created(alice, scripted(logits()))
    found = answer(await ask(alice, model_id, ROWS)).hansa
    assert (found.temperature, found.conformal, found.outputs, found.probabilities) == (None, None, None, None)


# Sets


async def test_a_level_has_the_set_of_classes_that_the_threshold_allows_and_what_it_rests_on(alice):
    scores = RNG.random(200)
    model_id = await calibrated(alice, logits(), rule="lac", scores=scores, temperature=2.0)

    found = answer(await ask(alice, model_id, ROWS, level=0.6)).hansa.conformal
    limit = limit_of(scores, 0.6)
    probabilities = torch.softmax(torch.tensor(ROWS).double() / 2, dim=1).numpy()
    assert found.sets == [np.flatnonzero(1 - row <= limit.value).tolist() for row in probabilities]
    assert (found.level, found.rule, found.threshold, found.excess) == (0.6, "lac", limit.value, limit.excess)
    assert (found.examples, found.clients, found.unbounded) == (200, 2, "")
    assert "Of new examples at least 0.6 are in their set" in found.assumptions[0]
    assert found.assumptions[1:3] == [NOT_PROMISED, FITTED]


async def test_an_empty_set_is_named(alice):
    model_id = await calibrated(alice, logits(), rule="lac", scores=[0.01] * 99, clients=1)

    found = answer(await ask(alice, model_id, [[9.0, 0.0, 0.0], [0.1, 0.0, 0.0]], level=0.9)).hansa.conformal
    assert (found.sets, found.empty) == ([[0], []], [1])
    assert EMPTY in found.assumptions


async def test_too_few_scores_have_sets_without_an_end_and_say_how_many_it_takes(alice):
    model_id = await calibrated(alice, logits(), rule="lac", scores=[0.5] * 20, clients=5)

    found = answer(await ask(alice, model_id, ROWS, level=0.9)).hansa.conformal
    assert (found.sets, found.threshold) == ([[0, 1, 2]] * 2, None)
    assert found.unbounded == "too few calibration examples for this level"
    assert any("20 are there; 45 are needed" in each for each in found.assumptions)


async def test_adaptive_sets_are_the_same_for_the_same_question_and_throw_other_dice_with_another_seed(alice):
    model_id = await calibrated(alice, logits(), rule="aps", scores=RNG.random(300))
    rows = RNG.normal(size=(40, 3)).tolist()

    async def sets(**more):
        return answer(await ask(alice, model_id, rows, level=0.7, **more)).hansa.conformal.sets

    assert await sets() == await sets()
    assert await sets() != await sets(seed=1)


# Intervals


async def test_of_numbers_a_level_has_intervals(alice):
    scores = RNG.exponential(size=150)
    model_id = await calibrated(alice, Weighted(1.0, 1.0, 1.0), rule="residual", scores=scores)

    found = answer(await ask(alice, model_id, ROWS, level=0.8)).hansa.conformal
    limit = limit_of(scores, 0.8, Grid.POSITIVE)
    middle = np.array(ROWS).sum(axis=1, keepdims=True)
    assert np.allclose(found.low, middle - limit.value)
    assert np.allclose(found.high, middle + limit.value)
    assert found.sets is None


async def test_intervals_without_an_end_are_null(alice):
    model_id = await calibrated(alice, Weighted(1.0, 1.0, 1.0), rule="residual", scores=[1.0], clients=1)
    found = answer(await ask(alice, model_id, ROWS[:1], level=0.9)).hansa.conformal
    assert (found.low, found.high) == ([[None]], [[None]])


# Forms, versions, refusals


async def test_a_form_may_ask_for_a_level_and_its_binary_answer_has_the_members(alice):
    model_id = await calibrated(alice, logits(), rule="lac", scores=RNG.random(200))
    sent = await ask_in_form(alice, model_id, json.dumps(ROWS).encode(), level="0.9")
    arrays = safetensors.numpy.load(sent.content)
    expected = answer(await ask(alice, model_id, ROWS, level=0.9)).hansa.conformal.sets
    assert [np.flatnonzero(row).tolist() for row in arrays["conformal.members"]] == expected
    answered = await ask_in_form(alice, model_id, json.dumps(ROWS).encode(), level="much")
    assert answered.status_code == 400
    assert "level" in answered.json()


async def test_the_newest_calibrated_version_keeps_a_level_and_another_one_says_which_it_is(alice):
    model_id = await calibrated(alice, logits(), rule="lac", scores=RNG.random(200))
    await call(lambda: add_version(model_id))

    assert answer(await ask(alice, model_id, ROWS, level=0.9)).hansa.version == 0
    assert answer(await ask(alice, model_id, ROWS)).hansa.version == 1
    refused(
        await ask(alice, model_id, ROWS, level=0.9, version=1),
        409,
        "impossible_method",
        "There are scores of version 0",
    )


def add_version(model_id):
    first = ModelVersion.objects.get(model_id=model_id, number=0)
    ModelVersion.objects.create(model=first.model, number=1, blob=first.blob, created_at=first.created_at)


async def test_a_version_without_scores_says_what_to_do(alice):
    model_id = await created(alice, scripted(logits()))
    refused(
        await ask(alice, model_id, ROWS, level=0.9), 409, "impossible_method", "Train with a plan", "without 'level'"
    )


@pytest.mark.parametrize(
    ("uncertainty", "words"),
    [
        ({"method": "mc_dropout"}, "calibrated by one pass, and mc_dropout makes several"),
        (
            {"outputs": "probabilities"},
            "calibrated with outputs that are logits; they were declared to be probabilities",
        ),
    ],
)
async def test_a_level_goes_with_what_was_calibrated(alice, uncertainty, words):
    model_id = await calibrated(alice, logits(), rule="lac", scores=RNG.random(200))
    refused(await ask(alice, model_id, ROWS, level=0.9, uncertainty=uncertainty), 409, "impossible_method", words)


@pytest.mark.parametrize("level", [0.4, 1.0, 0])
async def test_a_level_has_its_bounds(alice, level):
    body = {"model_id": "7", "model_input": ROWS, "level": level}
    refused_field(await alice.post(URL, json=body), "level", "0.5" if level < 0.5 else "0.999")


async def test_a_level_is_answered_by_one_pass_though_the_plan_wants_several(alice, bob, make_training):
    model_id = await calibrated(alice, logits(), rule="lac", scores=RNG.random(200))
    model = await read(Model.objects.get, id=model_id)
    await call(lambda: make_training(bob, model=model, uncertainty={"method": "mc_dropout"}))

    found = answer(await ask(alice, model_id, ROWS, level=0.9))
    assert (found.hansa.method, found.hansa.passes) == ("none", 1)
    assert found.hansa.conformal.level == 0.9
