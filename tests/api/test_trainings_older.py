"""POST /api/trainings/ in the older platform's words, and the record in them."""

from uuid import UUID

import pytest
from django.utils import timezone

from hansa.protocol.trainings import TrainingCreated, TrainingDetail
from hansa.rounds import plan as plans
from hansa.server.lifecycle.bridge import call, read
from hansa.server.registry.models import MeanMember, Model
from hansa.server.trainings.models import Round, Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.work import add_up, lease, settle, start, update, upload_and_report

URL = "/api/trainings/"


def asked(model, **fields):
    return {
        "model_id": str(model.id),
        "target_num_updates": 3,
        "metric_names": ["accuracy", "f1_score"],
        "aggregation_method": "FedAvg",
        **fields,
    }


@pytest.fixture
def create(alice, model):
    """Make a training with these fields, and return its record."""

    async def make(**fields):
        created = shown(await alice.post(URL, json=asked(model, **fields)), TrainingCreated, 201)
        assert created.detail == "Training created successfully!"
        return shown(await alice.get(f"{URL}{created.training_id}/"), TrainingDetail)

    return make


async def test_a_training_as_the_mnist_scripts_make_it(create, alice, bob, carol, model):
    record = await create(uncertainty_method="MC_DROPOUT", clients=[bob.id, carol.id])

    assert (record.state, record.locked, record.model, record.actor) == ("I", False, str(model.id), alice.id)
    assert (record.aggregation_method, record.uncertainty_method, record.options) == ("FedAvg", "MC_DROPOUT", {})
    assert (record.target_num_updates, record.participants) == (3, [bob.id, carol.id])
    assert (record.local_models_arrived, record.local_models_expected) == (0, 2)
    assert record.metric_names == ["accuracy", "f1_score"]
    assert record.plan == plans.to_data(plans.parse({"rounds": 3, "uncertainty": {"method": "mc_dropout"}}))


@pytest.mark.parametrize("text", ["3", "003", 3.0])
async def test_the_number_of_updates_may_come_as_a_form_gives_it(create, text):
    assert (await create(target_num_updates=text)).target_num_updates == 3


async def test_what_may_be_left_out_is_none_and_nobody(create):
    record = await create()

    assert (record.uncertainty_method, record.options, record.participants) == ("NONE", {}, [])


async def test_fedprox_has_a_proximal_term_in_its_plan(create):
    assert (await create(aggregation_method="FedProx")).plan["client"]["proximal_mu"] == 0.01


async def test_daisy_chaining_multiplies_the_number_of_updates_by_its_period(create):
    record = await create(aggregation_method="FedDC", target_num_updates=2, options={"daisy_chain_period": 5})

    assert (record.target_num_updates, record.rounds) == (10, 10)
    assert record.plan["daisy_chain"] == {"period": 5}
    assert record.options == {"daisy_chain_period": 5}


async def test_words_and_options_are_shown_as_they_were_given(create):
    options = {"uncertainty.N": 7, "colour": {"of": ["the", 1.5, 2**70, None, "ü"]}}
    record = await create(aggregation_method="FedDC", uncertainty_method="SWAG", options=options)

    assert (record.aggregation_method, record.uncertainty_method) == ("FedDC", "SWAG")
    assert record.options == options
    assert {"method": "swag", "samples": 7, "softmax": False}.items() <= record.plan["uncertainty"].items()


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, ("FedAvg", "NONE", {})),
        ({"client": {"proximal_mu": 0.5}}, ("FedProx", "NONE", {"proximal_mu": 0.5})),
        ({"rounds": 4, "daisy_chain": {"period": 2}}, ("FedDC", "NONE", {"daisy_chain_period": 2})),
        ({"uncertainty": {"method": "swag"}}, ("FedAvg", "SWAG", {"uncertainty": {"N": 10, "softmax": False}})),
    ],
)
async def test_a_training_by_a_plan_is_told_in_the_nearest_words(alice, make_training, plan, words):
    training = await call(lambda: make_training(**plan))

    record = shown(await alice.get(f"{URL}{training.id}/"), TrainingDetail)

    assert (record.aggregation_method, record.uncertainty_method, record.options) == words
    assert record.metric_names == []


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"model_id": None}, "model_id", "null"),
        ({"target_num_updates": 0}, "target_num_updates", ">= 1"),
        ({"target_num_updates": -3}, "target_num_updates", ">= 1"),
        ({"target_num_updates": "3.0"}, "target_num_updates", "int"),
        ({"target_num_updates": "-3"}, "target_num_updates", "int"),
        ({"target_num_updates": " 3"}, "target_num_updates", "int"),
        ({"target_num_updates": "٣"}, "target_num_updates", "int"),
        ({"target_num_updates": "0"}, "target_num_updates", ">= 1"),
        ({"target_num_updates": "9" * 40}, "target_num_updates", "int"),
        ({"target_num_updates": 1e300}, "target_num_updates", "int"),
        ({"target_num_updates": True}, "target_num_updates", "int"),
        ({"target_num_updates": 2.5}, "target_num_updates", "int"),
        ({"target_num_updates": 10**9}, "target_num_updates", "<= 1000000"),
        ({"metric_names": "loss"}, "metric_names", "array"),
        ({"metric_names": [1]}, "metric_names[0]", "str"),
        ({"aggregation_method": "FedSGD"}, "aggregation_method", "Must be one of: FedAvg, FedDC, FedProx."),
        ({"uncertainty_method": "swag"}, "uncertainty_method", "Must be one of: NONE, ENSEMBLE, MC_DROPOUT, SWAG."),
        ({"uncertainty_method": None}, "uncertainty_method", "null"),
        ({"options": []}, "options", "object"),
        ({"options": {"daisy_chain_period": 0}}, "options.daisy_chain_period", "0 is not a whole number from 1"),
        ({"options": {"uncertainty": {"N": "10"}}}, "options.uncertainty.N", '"10"'),
        ({"options": {"proximal_mu": 1}}, "options.proximal_mu", "goes with FedProx"),
        ({"clients": "bob"}, "clients", "array"),
        ({"locked": True}, "locked", "no such field"),
        ({"name": "digits"}, "name", "no such field"),
    ],
)
async def test_a_field_that_is_wrong_is_refused_and_nothing_is_made(alice, model, wrong, field, words):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=asked(model, **wrong)), field, words)


@pytest.mark.parametrize("field", ["model_id", "target_num_updates", "metric_names", "aggregation_method"])
async def test_a_field_that_is_missing_is_named(alice, model, field):
    body = asked(model)
    del body[field]

    async with nothing_changes():
        refused_field(await alice.post(URL, json=body), field, "required")


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b'"text"', b"{", b"\xff", b'{"options": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5001],
)
async def test_what_is_no_object_is_refused(alice, model, content):
    answer = await alice.post(URL, content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text


async def test_options_nested_too_deep_are_refused(alice, model):
    options = {}
    for _ in range(100):
        options = {"a": options}

    async with nothing_changes():
        refused_field(await alice.post(URL, json=asked(model, options=options)), "options", "flatter")


async def test_clients_that_are_no_text_are_told_one_by_one(alice, model):
    answer = await alice.post(URL, json=asked(model, clients=["bob", 5, None]))

    assert answer.status_code == 400
    assert answer.json().keys() == {"clients[1]"}


async def test_an_unknown_client_or_model_is_not_found(alice, model):
    async with nothing_changes():
        refused(await alice.post(URL, json=asked(model, clients=[str(UUID(int=7))])), 404, "not_found")
        refused(await alice.post(URL, json=asked(model, model_id=str(UUID(int=7)))), 404, "not_found")
        refused(await alice.post(URL, json=asked(model, model_id="7")), 404, "not_found")


async def test_the_model_must_be_ones_own(bob, mallory, alice, model, make_training, person):
    dave = await call(lambda: person("dave", actor=True))
    await call(make_training, dave)

    async with nothing_changes():
        refused(await dave.post(URL, json=asked(model)), 403, "permission_denied", "not the owner")
        refused(await mallory.post(URL, json=asked(model)), 404, "not_found")


async def test_a_model_that_has_a_training_is_copied_with_all_it_is_made_of(alice, model, training):
    changes = {"input_shape": [None, 1, 28, 28], "ties": [["a", "b"]], "structure": [], "kind": "swag"}
    await call(lambda: Model.objects.filter(id=model.id).update(**changes))

    created = shown(await alice.post(URL, json=asked(model)), TrainingCreated, 201)

    assert created.model_id != str(model.id)
    copied = await read(Model.objects.get, id=created.model_id)
    original = await read(Model.objects.get, id=model.id)
    for field in ("name", "owner_id", "spec", "description", *changes):
        assert getattr(copied, field) == getattr(original, field), field


async def test_the_copy_of_a_trained_model_goes_on_with_its_round(alice, evaluating, model):
    created = shown(await alice.post(URL, json=asked(model)), TrainingCreated, 201)

    copied = (await alice.get(f"/api/models/{created.model_id}/metadata/")).json()
    assert copied["round"] == (await alice.get(f"/api/models/{model.id}/metadata/")).json()["round"] == 1
    assert (await read(Model.objects.get, id=created.model_id)).first_round == 1


async def test_an_ensemble_needs_a_mean_of_models(alice, model):
    async with nothing_changes():
        answer = await alice.post(URL, json=asked(model, uncertainty_method="ENSEMBLE"))
        refused(answer, 422, "unsound_plan", "needs a model of kind mean", "is of kind global")


@pytest.fixture
async def mean(model):
    """The same model, called a mean."""
    await call(Model.objects.filter(id=model.id).update, kind="mean")
    return model


@pytest.mark.parametrize("method", ["SWAG", "MC_DROPOUT"])
async def test_a_mean_of_models_answers_as_an_ensemble_or_without_uncertainty(alice, mean, method):
    async with nothing_changes():
        answer = await alice.post(URL, json=asked(mean, uncertainty_method=method))
        refused(answer, 422, "unsound_plan", f"that of an ENSEMBLE, not {method}")


async def test_a_mean_of_models_has_a_training_that_says_how_it_answers_and_cannot_start(alice, bob, mean):
    body = asked(mean, uncertainty_method="ENSEMBLE", clients=["bob"])
    created = shown(await alice.post(URL, json=body), TrainingCreated, 201)

    async with nothing_changes():
        answer = await alice.post(f"{URL}{created.training_id}/start/")
        refused(answer, 409, "wrong_state", "has no params to train", "train its members")


async def test_a_mean_that_has_a_training_is_copied_with_its_members(alice, model, make_training):
    def make_mean():
        mean = Model.objects.create(owner=alice.user, name="mean", kind="mean", spec=[], created_at=timezone.now())
        MeanMember.objects.create(mean=mean, member=model, position=0)
        make_training(model=mean)
        return mean

    mean = await call(make_mean)

    created = shown(await alice.post(URL, json=asked(mean)), TrainingCreated, 201)

    assert created.model_id != str(mean.id)
    members = await read(
        lambda: list(MeanMember.objects.filter(mean=created.model_id).values_list("member", "position"))
    )
    assert members == [(model.id, 0)]


# How a training is told while it runs


async def test_the_record_is_locked_while_a_version_is_computed(alice, bob, carol, started):
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    assert not (await alice.get(f"{URL}{started.id}/")).json()["locked"]
    await call(settle, started)
    assert (await alice.get(f"{URL}{started.id}/")).json()["locked"]
    await call(add_up, started)
    assert not (await alice.get(f"{URL}{started.id}/")).json()["locked"]


@pytest.mark.parametrize(
    ("state", "letter", "locked"), [("swag", "S", False), ("combining", "S", True), ("evaluating", "O", False)]
)
async def test_the_letter_is_s_while_clients_are_asked_for_moments(alice, started, state, letter, locked):
    await call(Round.objects.filter(training=started).update, state=state, accepted=[])

    record = (await alice.get(f"{URL}{started.id}/")).json()
    assert (record["state"], record["locked"]) == (letter, locked)


async def test_local_models_are_counted_while_their_bytes_are_kept(alice, bob, carol, started):
    async def counts():
        record = (await alice.get(f"{URL}{started.id}/")).json()
        return record["local_models_arrived"], record["local_models_expected"]

    assert await counts() == (0, 2)
    await upload_and_report(bob, await call(lease, bob), update())
    assert await counts() == (1, 2)
    await upload_and_report(carol, await call(lease, carol), update())
    assert await counts() == (2, 2)
    await call(settle, started)
    await call(add_up, started)
    assert await counts() == (0, 2), "they are aggregated"
    await alice.request("DELETE", f"{URL}{started.id}/clients/", json={"clients": ["bob"]})
    assert await counts() == (0, 1)


async def test_the_last_update_is_when_the_training_or_a_round_last_came_to_another_state(
    alice, bob, carol, training, clock
):
    async def last():
        return (await alice.get(f"{URL}{training.id}/")).json()["last_update"]

    assert await last() == clock.now.isoformat()
    clock.advance(5)
    await call(start, training)
    assert await last() == clock.now.isoformat()
    began = clock.now.isoformat()
    clock.advance(5)
    await call(lease, bob)
    assert await last() == began
    await call(trainings.cancel, training_id=training.id, now=clock.now)
    assert await last() == clock.now.isoformat()


async def test_the_shorthand_is_kept_as_it_was_given(create):
    record = await create(options={"daisy_chain_period": 2})

    row = await read(Training.objects.get, id=record.id)
    assert row.shorthand == {
        "aggregation_method": "FedAvg",
        "uncertainty_method": "NONE",
        "options": {"daisy_chain_period": 2},
        "metric_names": ["accuracy", "f1_score"],
    }
