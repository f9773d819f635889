"""GET and POST /api/trainings/, GET and DELETE /api/trainings/<id>/, and the plan's schema."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hansa.protocol.models import Detail
from hansa.protocol.trainings import Participant, TrainingCreated, TrainingDetail
from hansa.protocol.trainings import Training as TrainingRecord
from hansa.rounds import plan as plans
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.registry.models import Model
from hansa.server.registry.services import delete_model
from hansa.server.trainings import selectors
from hansa.server.trainings.models import Round, Task, Training
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused, refused_field, shown
from support.work import lease, start, update, upload_and_report

URL = "/api/trainings/"
RELATED = "/api/users/trainings/"


def asked(model, **fields):
    return {"model_id": str(model.id), "plan": {"rounds": 3}, **fields}


async def record_of(person, training):
    return shown(await person.get(f"{URL}{training.id}/"), TrainingDetail)


async def test_a_new_training_waits_to_be_started(alice, bob, carol, model, clock):
    body = asked(model, clients=["carol", bob.id], name="digits", plan={"rounds": 3, "seed": 11})

    created = shown(await alice.post(URL, json=body), TrainingCreated, 201)

    assert (created.detail, created.model_id) == ("Training created successfully!", str(model.id))
    record = shown(await alice.get(f"{URL}{created.training_id}/"), TrainingDetail)
    assert record == TrainingDetail(
        id=created.training_id,
        name="digits",
        model=str(model.id),
        actor=alice.id,
        status="initial",
        state="I",
        reason="",
        round=0,
        rounds=3,
        rounds_done=0,
        version=0,
        plan=plans.to_data(plans.parse({"rounds": 3, "seed": 11})),
        seed=11,
        participants=[carol.id, bob.id],
        clients=[
            Participant(id=carol.id, username="carol", ordinal=0, active=True, last_seen=None, failures=0, excluded=""),
            Participant(id=bob.id, username="bob", ordinal=1, active=True, last_seen=None, failures=0, excluded=""),
        ],
        revision=record.revision,
        created_at=clock.now.isoformat(),
        started_at=None,
        finished_at=None,
        last_update=clock.now.isoformat(),
        target_num_updates=3,
        aggregation_method="FedAvg",
        uncertainty_method="NONE",
        options={},
        metric_names=[],
        locked=False,
        local_models_arrived=0,
        local_models_expected=2,
    )


async def test_a_seed_is_drawn_and_shown_if_the_plan_has_none(alice, model):
    created = [shown(await alice.post(URL, json=asked(model)), TrainingCreated, 201) for _ in range(2)]

    seeds = [(await alice.get(f"{URL}{each.training_id}/")).json()["seed"] for each in created]
    assert seeds[0] != seeds[1]
    assert all(0 <= seed < 2**53 for seed in seeds)


async def test_a_training_without_a_name_is_named_after_its_model(alice, model):
    created = shown(await alice.post(URL, json=asked(model)), TrainingCreated, 201)

    assert (await alice.get(f"{URL}{created.training_id}/")).json()["name"] == "small"


async def test_a_model_that_is_trained_already_is_copied_with_its_newest_version(alice, model, training):
    created = shown(await alice.post(URL, json=asked(model)), TrainingCreated, 201)

    assert created.model_id != str(model.id)
    copied = await read(Model.objects.get, id=created.model_id)
    assert (copied.spec, copied.owner_id) == (model.spec, model.owner_id)


async def test_copies_have_names_of_their_own(alice, model, training):
    async def name_after_training(model_id):
        created = shown(await alice.post(URL, json=asked(model) | {"model_id": str(model_id)}), TrainingCreated, 201)
        copied = await read(Model.objects.get, id=created.model_id)
        return copied.id, copied.name

    first, name = await name_after_training(model.id)
    assert name == "small (2)"
    assert (await name_after_training(model.id))[1] == "small (3)"
    assert (await name_after_training(first))[1] == "small (4)", "a copy of a copy"
    await call(Model.objects.filter(id=model.id).update, name="x" * 256)
    assert (await name_after_training(model.id))[1] == "x" * 252 + " (2)"


async def test_a_client_named_twice_takes_part_once(alice, bob, model):
    body = asked(model, clients=["bob", bob.id, "bob"])
    created = shown(await alice.post(URL, json=body), TrainingCreated, 201)

    record = shown(await alice.get(f"{URL}{created.training_id}/"), TrainingDetail)
    assert [client.username for client in record.clients] == ["bob"]


async def test_an_id_always_means_its_owner_whatever_others_are_called(alice, bob, person_named_like_bob, model):
    created = shown(await alice.post(URL, json=asked(model, clients=[bob.id])), TrainingCreated, 201)

    record = shown(await alice.get(f"{URL}{created.training_id}/"), TrainingDetail)
    assert [client.username for client in record.clients] == ["bob"]


@pytest.fixture
def person_named_like_bob(person, bob):
    return person(bob.id, client=True)


def base_of(record):
    """What a list shows of a record: all but the counts of its local models."""
    fields = msgspec.structs.asdict(record)
    return TrainingRecord(**{name: fields[name] for name in TrainingRecord.__struct_fields__})


async def test_the_list_holds_what_one_steers(alice, bob, mallory, root, training):
    assert shown(await alice.get(URL), list[TrainingRecord]) == [base_of(await record_of(alice, training))]
    for person in (bob, mallory, root):
        assert shown(await person.get(URL), list[TrainingRecord]) == []


async def test_the_other_list_holds_what_one_steers_or_takes_part_in(alice, bob, mallory, root, training):
    for person in (alice, bob, root):
        assert shown(await person.get(RELATED), list[TrainingRecord]) == [base_of(await record_of(person, training))]
    assert shown(await mallory.get(RELATED), list[TrainingRecord]) == []


async def test_who_steers_a_training_and_takes_part_in_it_finds_it_listed_once(alice, bob, training):
    await call(trainings.add_clients, training_id=training.id, clients=[alice.user])

    assert [each["id"] for each in (await alice.get(RELATED)).json()] == [str(training.id)]


async def test_lists_are_oldest_first(alice, make_training, clock):
    made = []
    for _ in range(3):
        made.append(str((await call(make_training)).id))
        clock.advance(1)

    for url in (URL, RELATED):
        assert [each["id"] for each in (await alice.get(url)).json()] == made


async def test_many_trainings_are_listed_with_as_many_queries_as_few(
    alice, bob, carol, person, model, make_training, clock
):
    """Of every kind: not begun, waiting for its clients, with one at work, one lost, one done, between rounds, over."""
    clients = [bob, carol, await call(lambda: person("dave", client=True))]

    def one_of_each():
        made = [make_training(*clients) for _ in range(7)]
        for training in made[1:]:
            start(training)
        for training, reported in zip(made[2:5], (0, 0, 1), strict=True):
            of = Task.objects.filter(round__training=training).order_by("participation__ordinal")
            until = clock.now + timedelta(seconds=60)
            of.filter(participation__ordinal=0).update(state="leased", leased_at=clock.now, lease_until=until)
            of.filter(participation__ordinal=1).update(state=("lost", "failed")[reported])
        trainings.cancel(training_id=made[5].id, now=clock.now)
        Round.objects.filter(training=made[6]).update(state="abandoned", reason="too few came.")
        return made

    def listed():
        with CaptureQueriesContext(connection) as asked:
            records = selectors.related(alice.user)
        return {record.id: record for record in records}, len(asked)

    made = await call(one_of_each)
    few, queries = await call(listed)
    for _ in range(4):
        await call(one_of_each)
    many, queries_of_many = await call(listed)

    assert (len(many), queries_of_many) == (5 * len(few), queries)
    for training in made:
        alone = base_of(await record_of(alice, training))
        assert many[str(training.id)] == few[str(training.id)] == alone
    reasons = [few[str(training.id)].reason for training in made]
    assert reasons == [
        "",
        "waiting for clients: none of the 3 selected has asked for work yet",
        "0 of 3 clients have reported; 1 at work, 1 not yet come",
        "0 of 3 clients have reported; 1 at work, 1 not yet come",
        "0 of 3 clients have reported; 1 at work, 1 not yet come",
        "cancelled by its actor",
        "round 1 of 1 begins",
    ]


async def test_who_is_gone_is_named_of_each_training_apart(alice, bob, carol, person, make_training):
    people = [await call(lambda name=name: person(name, client=True)) for name in "defghijk"]

    def fail(training, count):
        start(training)
        Task.objects.filter(round__training=training, participation__ordinal__lt=count).update(state="failed")
        return str(training.id)

    many = await call(lambda: fail(make_training(*people), 8))
    one = await call(lambda: fail(make_training(bob, carol, closing={"min_reports": 2}), 2))

    reasons = {each["id"]: each["reason"] for each in (await alice.get(URL)).json()}
    assert "(d failed, e failed, f failed, g failed, h failed, and 3 more)" in reasons[many]
    assert "(bob failed, carol failed)" in reasons[one]


async def test_to_a_stranger_the_training_does_not_exist(mallory, training):
    refused(await mallory.get(f"{URL}{training.id}/"), 404, "not_found", str(training.id), "not yours to see")


async def test_a_participant_that_was_removed_no_longer_sees_it(bob, training):
    await call(trainings.remove_clients, training_id=training.id, clients=[bob.user])

    refused(await bob.get(f"{URL}{training.id}/"), 404, "not_found")


async def test_the_record_says_why_a_running_training_is_where_it_is(alice, bob, carol, started):
    record = await record_of(alice, started)
    assert (record.status, record.state, record.round) == ("ongoing", "O", 1)
    assert record.reason == "waiting for clients: none of the 2 selected has asked for work yet"

    await upload_and_report(bob, await call(lease, bob), update())
    await call(lease, carol)
    assert (await record_of(alice, started)).reason == "1 of 2 clients have reported; 1 at work, 0 not yet come"


async def test_the_revision_changes_with_what_the_record_shows_and_not_otherwise(alice, bob, started):
    first = await record_of(alice, started)
    assert (await record_of(alice, started)).revision == first.revision

    await call(lease, bob)

    assert (await record_of(alice, started)).revision != first.revision


async def test_asking_for_work_is_no_new_revision(alice, bob, training):
    before = await record_of(alice, training)

    await bob.post("/api/tasks/next/", json={"instance": "laptop"})

    after = await record_of(alice, training)
    assert after.clients[0].last_seen is not None
    assert after.revision == before.revision


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, ["rounds"]),
        ({"rounds": 0}, ["rounds", ">= 1"]),
        ({"rounds": "many"}, ["rounds"]),
        ({"rounds": 1, "momentum": 0.9}, ["momentum"]),
        ({"rounds": 1, "client": {"client_lr": -1}}, ["client_lr"]),
        ({"rounds": 1, "cohort": {"fraction": 0.5, "size": 2}}, ["fraction", "size", "at most one"]),
        ({"rounds": 1, "cohort": {"size": 2}, "closing": {"quorum": 3}}, ["closing.quorum is 3", "2 clients"]),
        ({"rounds": 1, "closing": {"quorum": 1, "min_reports": 2}}, ["quorum is 1", "min_reports 2"]),
        ({"rounds": 1, "aggregator": {"kind": "loudest"}}, ["loudest"]),
        ({"rounds": 1, "format": 2}, ["format"]),
    ],
)
async def test_a_plan_that_cannot_be_run_is_refused_with_its_place(alice, model, plan, words):
    async with nothing_changes():
        refused(await alice.post(URL, json=asked(model, plan=plan)), 422, "unsound_plan", *words)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan": {"rounds": 1}}, "model_id"),
        ({"model_id": "x"}, "plan"),
        ({"model_id": "x", "plan": []}, "plan"),
        ({"model_id": 5, "plan": {}}, "model_id"),
        ({"model_id": "x", "plan": {}, "clients": "bob"}, "clients"),
        ({"model_id": "x", "plan": {}, "name": "x" * 201}, "name"),
        ({"model_id": "x", "plan": {}, "rounds": 3}, "rounds"),
    ],
)
async def test_refuses_a_training_that_is_not_as_the_protocol_says(alice, body, field):
    async with nothing_changes():
        refused_field(await alice.post(URL, json=body), field)


@pytest.mark.parametrize("named", ["nobody", str(UUID(int=0)), ""])
async def test_who_does_not_exist_cannot_be_named(alice, model, named):
    async with nothing_changes():
        response = await alice.post(URL, json=asked(model, clients=[named]))
        refused(response, 404, "not_found", repr(named), "GET /api/users/")


async def test_who_has_no_open_account_cannot_be_named(alice, bob, model):
    bob.user.is_active = False
    await call(bob.user.save)

    refused(await alice.post(URL, json=asked(model, clients=["bob"])), 404, "not_found", "'bob'")


async def test_any_person_may_be_named_with_or_without_the_mark_of_a_client(alice, mallory, model, person):
    await call(person, "erin")
    body = asked(model, clients=["erin", "alice"])
    created = shown(await alice.post(URL, json=body), TrainingCreated, 201)

    record = shown(await alice.get(f"{URL}{created.training_id}/"), TrainingDetail)
    assert [client.username for client in record.clients] == ["erin", "alice"]


async def test_a_machine_that_was_invited_is_named_by_actors_alone(bob, person, model):
    olaf = await call(person, "olaf")
    olaf.user.set_password("correct horse")
    model.owner = olaf.user
    await call(lambda: (olaf.user.save(), model.save()))

    async with nothing_changes():
        response = await olaf.post(URL, json=asked(model, clients=["olaf", "bob"]))
        refused(response, 403, "permission_denied", "'bob'", "actor")


async def test_any_number_of_names_is_looked_up(alice, bob, model):
    names = [f"ghost{number}" for number in range(300_000)]
    async with nothing_changes():
        refused(await alice.post(URL, json=asked(model, clients=["bob", *names])), 404, "not_found", "ghost0")


@pytest.mark.parametrize("model_id", ["no-uuid", str(UUID(int=0))])
async def test_an_unknown_model_cannot_be_trained(alice, model_id):
    async with nothing_changes():
        refused(await alice.post(URL, json={"model_id": model_id, "plan": {"rounds": 1}}), 404, "not_found", model_id)


async def test_a_stranger_cannot_train_ones_model_nor_learn_of_it(mallory, model):
    async with nothing_changes():
        refused(await mallory.post(URL, json=asked(model)), 404, "not_found")


async def test_an_account_made_by_an_invitation_makes_no_trainings(bob, model):
    async with nothing_changes():
        refused(await bob.post(URL, json=asked(model)), 403, "permission_denied", "owns nothing")


async def test_a_person_needs_no_role_to_train_a_model_of_theirs(person, model):
    erin = await call(person, "erin")
    erin.user.set_password("a horse of another colour")
    await call(erin.user.save)
    await call(Model.objects.filter(id=model.id).update, owner=erin.user)

    created = shown(await erin.post(URL, json=asked(model)), TrainingCreated, 201)

    assert (await erin.get(f"{URL}{created.training_id}/")).json()["actor"] == erin.id


async def test_who_may_only_see_a_model_may_not_train_it(person_who_takes_part, model):
    async with nothing_changes():
        refused(await person_who_takes_part.post(URL, json=asked(model)), 403, "permission_denied", "not the owner")


@pytest.fixture
def person_who_takes_part(person, make_training):
    """An actor who is a participant of Alice's training."""
    dave = person("dave", actor=True, client=True)
    make_training(dave)
    return dave


async def test_a_training_is_deleted_with_its_rounds_and_its_model_stays(alice, bob, started, model, clock):
    await call(lease, bob)
    await call(trainings.cancel, training_id=started.id, now=clock.now)

    assert shown(await alice.delete(f"{URL}{started.id}/"), Detail) == Detail(detail="Training removed!")

    assert [await read(kind.objects.count) for kind in (Training, Round, Task, Model)] == [0, 0, 0, 1]


@pytest.mark.parametrize("status", ["initial", "ongoing", "paused", "completed", "error", "cancelled"])
async def test_a_training_is_deleted_whatever_its_state(alice, bob, started, status):
    task = await call(lease, bob)
    await call(Training.objects.filter(id=started.id).update, status=status, reason="because")

    assert shown(await alice.delete(f"{URL}{started.id}/"), Detail) == Detail(detail="Training removed!")

    assert [await read(kind.objects.count) for kind in (Training, Round, Task, Model)] == [0, 0, 0, 1]
    refused(await bob.post(f"/api/tasks/{task.id}/heartbeat/", json={}), 404, "not_found")
    refused(
        await bob.put(f"/api/tasks/{task.id}/update/{update().digest}/", content=update().content), 404, "not_found"
    )


async def test_what_was_trained_stays_with_the_model_when_its_training_is_deleted(alice, evaluating, model):
    await alice.delete(f"{URL}{evaluating.id}/")

    versions = (await alice.get(f"/api/models/{model.id}/versions/")).json()
    assert [version["number"] for version in versions] == [0, 1]


async def test_only_its_actor_and_root_may_delete_it(bob, mallory, root, training):
    async with nothing_changes():
        refused(await bob.delete(f"{URL}{training.id}/"), 403, "permission_denied", "Only the actor")
        refused(await mallory.delete(f"{URL}{training.id}/"), 404, "not_found")
    assert (await root.delete(f"{URL}{training.id}/")).status_code == 200


async def test_the_plans_schema_names_every_part_of_a_plan(alice):
    schema = (await alice.get("/api/plans/schema/")).json()
    assert schema == (await alice.get("/api/plan-schema/")).json(), "where it was at first"

    assert schema == plans.schema()
    assert schema["$schema"].endswith("2020-12/schema")


async def test_a_training_that_was_just_started_twice_runs_once(alice, training):
    await call(start, training)

    async with nothing_changes():
        refused(await alice.post(f"{URL}{training.id}/start/"), 409, "wrong_state", "ongoing")


async def test_a_training_of_a_model_that_has_just_been_deleted_is_not_made(alice, bob, model):
    """It was there when the request was read."""
    await call(delete_model, model_id=model.id)

    wanted = {"plan": plans.parse({"rounds": 1}), "clients": [bob.user], "name": "late", "now": timezone.now()}
    async with nothing_changes():
        with pytest.raises(NotFoundError, match="has just been deleted"):
            await call(trainings.create, actor=alice.user, model=model, **wanted)
